//! Counters of one instance: they end with it, and nobody else reads them.

use super::status::Status;
use crate::config::limits;

/// What `proxy_define_metric` made, by number.
#[derive(Debug, Default)]
pub(super) struct Metrics(Vec<Metric>);

#[derive(Debug)]
struct Metric {
    name: String,
    value: u64,
}

impl Metrics {
    /// The number of the metric of this name, which is made where there is none.
    pub(super) fn define(&mut self, name: String) -> Result<u32, Status> {
        let at = match self.0.iter().position(|metric| metric.name == name) {
            Some(at) => at,
            None if self.0.len() == limits::FILTER_METRICS_MAX => {
                return Err(Status::InternalFailure);
            }
            None => {
                self.0.push(Metric { name, value: 0 });
                self.0.len() - 1
            }
        };
        u32::try_from(at).map_err(|_| Status::InternalFailure)
    }

    /// The value of a metric, to read and to write.
    pub(super) fn value(&mut self, id: u32) -> Result<&mut u64, Status> {
        let metric = self.0.get_mut(id as usize);
        metric
            .map(|metric| &mut metric.value)
            .ok_or(Status::NotFound)
    }
}
