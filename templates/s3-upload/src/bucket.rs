//! The bucket, and requests to it that are signed (AWS Signature Version 4, in the query).

use std::env;
use std::time::Duration;

use anyhow::{Context, Result};
use fastedge::secret;
use rusty_s3::{Credentials, S3Action, UrlStyle};
use wstd::http::{Body, Request};

use crate::required;

/// How long a signature is good for: an upload begins at once.
const SIGNED_FOR: Duration = Duration::from_secs(60);

/// Where uploads go, and the right to put them there.
pub struct Bucket {
    bucket: rusty_s3::Bucket,
    credentials: Credentials,
}

impl Bucket {
    /// As `S3_ENDPOINT`, `S3_BUCKET`, `S3_REGION` and the secrets `S3_KEY` and `S3_SECRET` say.
    pub fn from_env() -> Result<Self> {
        let var = |name| env::var(name).with_context(|| format!("no variable {name}"));
        let endpoint = var("S3_ENDPOINT")?.parse().context("S3_ENDPOINT")?;
        let secret = |name| required(secret::get(name), name);
        Ok(Self {
            bucket: rusty_s3::Bucket::new(
                endpoint,
                UrlStyle::Path,
                var("S3_BUCKET")?,
                var("S3_REGION")?,
            )?,
            credentials: Credentials::new(secret("S3_KEY")?, secret("S3_SECRET")?),
        })
    }

    /// The request that puts an upload's body under this key. Its type and length are signed, too.
    pub fn put(&self, key: &str, upload: Request<Body>) -> Result<Request<Body>> {
        let mut action = self.bucket.put_object(Some(&self.credentials), key);
        let mut put = Request::put("/");
        for name in ["content-length", "content-type"] {
            if let Some(value) = upload.headers().get(name) {
                action
                    .headers_mut()
                    .insert(name, value.to_str()?.to_owned());
                put = put.header(name, value);
            }
        }
        let url = action.sign(SIGNED_FOR);
        Ok(put.uri(url.as_str()).body(upload.into_body())?)
    }
}
