//! The filters on the way to an origin and back: a request meets them in their order, its answer in the
//! other one.
//!
//! | `compat` | a filter's instance |
//! |---|---|
//! | none | one for the whole request |
//! | `fastedge` | a fresh one at each hook; what is to be remembered goes into properties |

use std::rc::Rc;

use bytes::{Bytes, BytesMut};

use crate::config::Compat;
use crate::engine::Program;
use crate::fault::Reason;
use crate::guest::filter::{Exchange, Filter, Verdict};
use crate::guest::{Context, Failure, Outbound, Phase};
use crate::worker::tenant::Hooks;

/// The filters of one request.
pub struct Chain {
    links: Vec<Link>,
    context: Context,
}

struct Link {
    program: Rc<Program>,
    hooks: Hooks,
    /// Made when it is first called.
    instance: Option<Filter>,
    /// What it waits for more of.
    kept: BytesMut,
}

/// What became of a piece of a body.
pub enum Passed {
    /// This goes on; there may be nothing of it now.
    On(Bytes),
    /// A filter answers instead.
    Answered(http::Response<Bytes>),
}

impl Link {
    fn has(&self, phase: Phase) -> bool {
        self.hooks[phase as usize] && self.program.filter_has(phase)
    }
}

impl Chain {
    /// The chain of these filters, none of which runs yet.
    pub fn new(filters: Vec<(Rc<Program>, Hooks)>, context: Context) -> Self {
        let links = filters.into_iter().map(|(program, hooks)| Link {
            program,
            hooks,
            instance: None,
            kept: BytesMut::new(),
        });
        Self {
            links: links.collect(),
            context,
        }
    }

    /// Whose host its filters are made for.
    pub fn compat(&self) -> Compat {
        self.context.grants.compat
    }

    /// What sends their requests to others.
    pub fn outbound(&self) -> Option<Rc<dyn Outbound>> {
        self.context.outbound.clone()
    }

    /// Whether any filter has something to do in this phase.
    pub fn has(&self, phase: Phase) -> bool {
        self.links.iter().any(|link| link.has(phase))
    }

    /// Calls the filters for a phase that is about fields; gives the answer, if one of them answers.
    ///
    /// # Errors
    /// When a filter fails, or closes the request.
    pub async fn fields(
        &mut self,
        phase: Phase,
        exchange: &mut Exchange,
        end_of_stream: bool,
    ) -> Result<Option<http::Response<Bytes>>, Failure> {
        for place in self.places(phase) {
            match self.call(place, phase, exchange, end_of_stream).await? {
                Verdict::Continue | Verdict::Pause => {}
                Verdict::Answer(answer) => return Ok(Some(answer)),
                Verdict::Close => return Err(closed()),
            }
            self.end_hook(place).await?;
        }
        Ok(None)
    }

    /// Takes a piece of a body through the filters. One that waits for more keeps what it has got, and
    /// the filters after it see nothing of it yet.
    ///
    /// # Errors
    /// As above; and when a filter waits for more of a body than it may have whole.
    pub async fn body(
        &mut self,
        phase: Phase,
        exchange: &mut Exchange,
        piece: Bytes,
        end_of_stream: bool,
    ) -> Result<Passed, Failure> {
        let mut piece = piece;
        for place in self.places(phase) {
            let link = &mut self.links[place];
            if link.kept.is_empty() && piece.is_empty() && !end_of_stream {
                return Ok(Passed::On(piece));
            }
            if !link.kept.is_empty() {
                link.kept.extend_from_slice(&piece);
                // All of it: with a rest that shares the buffer, it would be copied when it comes back.
                piece = std::mem::take(&mut link.kept).freeze();
            }
            if piece.len() > self.context.grants.whole_body_bytes {
                return Err(too_long(phase));
            }
            *body_of(exchange, phase) = piece;
            let verdict = self.call(place, phase, exchange, end_of_stream).await?;
            piece = std::mem::take(body_of(exchange, phase));
            match verdict {
                Verdict::Continue => {}
                Verdict::Pause => {
                    self.links[place].kept = BytesMut::from(piece);
                    return Ok(Passed::On(Bytes::new()));
                }
                Verdict::Answer(answer) => return Ok(Passed::Answered(answer)),
                Verdict::Close => return Err(closed()),
            }
            if end_of_stream {
                self.end_hook(place).await?;
            }
        }
        Ok(Passed::On(piece))
    }

    /// Tells the filters that the request is over.
    ///
    /// # Errors
    /// When one fails at that.
    pub async fn finish(self) -> Result<(), Failure> {
        for link in self.links {
            if let Some(instance) = link.instance {
                instance.finish().await?;
            }
        }
        Ok(())
    }

    /// The places of those with something to do, in the order in which they are called.
    fn places(&self, phase: Phase) -> Vec<usize> {
        let links = self.links.iter().enumerate();
        let mut places: Vec<usize> = links
            .filter(|(_, link)| link.has(phase))
            .map(|(place, _)| place)
            .collect();
        if phase.is_response() {
            places.reverse();
        }
        places
    }

    async fn call(
        &mut self,
        place: usize,
        phase: Phase,
        exchange: &mut Exchange,
        end_of_stream: bool,
    ) -> Result<Verdict, Failure> {
        let link = &mut self.links[place];
        let instance = match &mut link.instance {
            Some(instance) => instance,
            none => none.insert(Filter::start(&link.program, &self.context).await?),
        };
        instance.run(phase, exchange, end_of_stream).await
    }

    /// At Gcore, an instance ends with its hook.
    async fn end_hook(&mut self, place: usize) -> Result<(), Failure> {
        if self.context.grants.compat == Compat::Fastedge
            && let Some(instance) = self.links[place].instance.take()
        {
            instance.finish().await?;
        }
        Ok(())
    }
}

fn body_of(exchange: &mut Exchange, phase: Phase) -> &mut Bytes {
    match phase.is_response() {
        true => &mut exchange.response_body,
        false => &mut exchange.request_body,
    }
}

fn closed() -> Failure {
    Failure {
        reason: Reason::Exited,
        detail: "a filter closed the request".to_owned(),
    }
}

fn too_long(phase: Phase) -> Failure {
    let (reason, whose) = match phase.is_response() {
        true => (Reason::BadResponse, "the answer's"),
        false => (Reason::BodyTooLarge, "the request's"),
    };
    Failure {
        reason,
        detail: format!("a filter waits for more of {whose} body than whole_body_bytes"),
    }
}
