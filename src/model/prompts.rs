//! What a model knows of prompts.

use std::sync::Arc;

use super::Model;
use crate::bundle::Role;
use crate::contract::PortRole;
use crate::error::{Context, invalid_bundle};
use crate::text::{Texts, Tokenizer};
use crate::{CancelToken, Request, Result};

impl Model {
    /// Whether a prompt has more tokens than the text encoder takes
    /// ([`Text::max_tokens`](crate::manifest::Text::max_tokens)), so that its end is left out.
    ///
    /// # Errors
    /// As [`Session::encode_prompts`](crate::Session::encode_prompts).
    pub fn cuts(&self, prompt: &str) -> Result<bool> {
        Request::of_prompts([prompt]).check_prompts(self.bundle())?;
        Ok(self.tokenizer(&CancelToken::new())?.encode(prompt)?.cut)
    }

    /// What makes tokens of prompts; the first time it is read, and held against the text encoder, which is planned.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub(crate) fn tokenizer(&self, cancel: &CancelToken) -> Result<Arc<Tokenizer>> {
        self.0.texts.tokenizer(|| {
            let (bundle, manifest) = (self.bundle(), self.manifest());
            let most = manifest.text.as_ref().map_or(0, |text| text.max_tokens as usize);
            let place = || bundle.tokenizer_file().to_owned();
            let tokenizer = Tokenizer::new(&bundle.tokenizer()?, most).at(place)?;
            let program = self.program(Role::Text, manifest.extent(1), cancel);
            let program = program.at(|| format!("text.max_tokens {most}"))?;
            let inputs = self.contract(Role::Text, 1)?.inputs;
            for (role, what, last) in [
                (PortRole::Tokens, "tokens", tokenizer.last()),
                (PortRole::TokenTypes, "types", tokenizer.last_type()),
            ] {
                let rows = inputs.iter().position(|port| port.role == role).and_then(|at| program.rows(at));
                if let Some(rows) = rows.filter(|&rows| last >= rows as i64) {
                    return Err(invalid_bundle(format!(
                        "makes {what} up to {last}, but the text encoder has a table of {rows}"
                    ))
                    .at(place()));
                }
            }
            Ok(tokenizer)
        })
    }

    /// The contexts of prompts that it knows.
    pub(crate) fn texts(&self) -> &Texts {
        &self.0.texts
    }
}
