//! Prompts to contexts: a bundle's tokenizer, and the contexts that its text encoder made lately.
//!
//! ```text
//! prompt ──Tokenizer──▶ tokens, mask, types ──the network of the role `text`──▶ context ──Contexts──▶ requests
//! ```

#![forbid(unsafe_code)]

#[cfg(feature = "text")]
mod tokenizer;
#[cfg(not(feature = "text"))]
#[path = "text/no_tokenizer.rs"]
mod tokenizer;

use std::sync::{Arc, Mutex};

pub(crate) use tokenizer::{Tokenizer, Tokens};

use crate::Result;
use crate::error::limit_exceeded;
use crate::lock::lock;
use crate::{Limits, memory};

/// What a model knows of prompts.
#[derive(Default)]
pub(crate) struct Texts {
    /// None until it is asked for.
    tokenizer: Mutex<Option<Arc<Tokenizer>>>,
    contexts: Mutex<Contexts>,
}

impl Texts {
    /// The tokenizer, which `make` reads the first time.
    ///
    /// # Errors
    /// Those of `make`.
    pub(crate) fn tokenizer(&self, make: impl FnOnce() -> Result<Tokenizer>) -> Result<Arc<Tokenizer>> {
        let mut held = lock(&self.tokenizer);
        if let Some(tokenizer) = &*held {
            return Ok(Arc::clone(tokenizer));
        }
        let tokenizer = Arc::new(make()?);
        *held = Some(Arc::clone(&tokenizer));
        Ok(tokenizer)
    }

    /// The context of a prompt, if it was made lately.
    pub(crate) fn context(&self, prompt: &str) -> Option<Arc<[f32]>> {
        lock(&self.contexts).get(prompt)
    }

    /// Keeps the context of a prompt.
    ///
    /// # Errors
    /// `OutOfMemory`.
    pub(crate) fn keep(&self, prompt: &str, context: &Arc<[f32]>) -> Result<()> {
        lock(&self.contexts).put(prompt, context)
    }
}

/// The last contexts, the oldest first.
#[derive(Default)]
struct Contexts(Vec<(String, Arc<[f32]>)>);

impl Contexts {
    /// Prompts that are kept at most, and bytes of their contexts.
    const PROMPTS: usize = 256;
    const BYTES: usize = 16 << 20;

    /// The context, which becomes the newest.
    fn get(&mut self, prompt: &str) -> Option<Arc<[f32]>> {
        let place = self.0.iter().rposition(|(known, _)| known == prompt)?;
        self.0[place..].rotate_left(1);
        self.0.last().map(|(_, context)| Arc::clone(context))
    }

    fn put(&mut self, prompt: &str, context: &Arc<[f32]>) -> Result<()> {
        if self.get(prompt).is_some() {
            return Ok(());
        }
        let most = (Self::BYTES / size_of_val(&**context).max(1)).clamp(1, Self::PROMPTS);
        self.0.drain(..(self.0.len() + 1).saturating_sub(most));
        memory::push(&mut self.0, (prompt.to_owned(), Arc::clone(context)))
    }
}

/// Refuses a prompt that is longer than the limits allow, before anything is made of it.
pub(crate) fn check_prompt(name: &str, prompt: &str, limits: &Limits) -> Result<()> {
    let (bytes, most) = (prompt.len(), limits.max_prompt_bytes);
    if bytes as u64 <= u64::from(most) {
        return Ok(());
    }
    Err(limit_exceeded(format!("{name}: {bytes} bytes, above the limit of {most} (max_prompt_bytes)")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(not(feature = "text"))]
    #[test]
    fn a_build_without_a_tokenizer_refuses_prompts_in_one_line() {
        use crate::{Bundle, ErrorKind, Request};

        let bundle = Bundle::open("tests/data/prompts/bundle").unwrap();
        let plain = || Request::new(vec![0]);
        for (name, request) in [
            ("prompt", plain().with_prompt("moss")),
            ("negative prompt", plain().with_negative_prompt("moss")),
        ] {
            let error = request.check(&bundle).unwrap_err();
            let message = format!("{name}: this build has no tokenizer (the feature `text`); give a context");
            assert_eq!((error.kind(), error.to_string()), (ErrorKind::Unsupported, message));
        }
        plain().check(&bundle).unwrap();
        assert_eq!(Tokenizer::new(b"{}", 9).err().unwrap().kind(), ErrorKind::Unsupported);
    }

    #[test]
    fn the_contexts_that_were_asked_for_last_are_kept() {
        let mut contexts = Contexts::default();
        let one: Arc<[f32]> = Arc::from([1.0; 4]);
        for i in 0..Contexts::PROMPTS {
            contexts.put(&i.to_string(), &one).unwrap();
        }
        assert!(contexts.get("0").is_some());
        contexts.put("another", &one).unwrap();
        assert_eq!(contexts.0.len(), Contexts::PROMPTS);
        assert!(contexts.get("0").is_some() && contexts.get("another").is_some());
        assert!(contexts.get("1").is_none());
        // Large ones are fewer.
        let large: Arc<[f32]> = vec![0.0; Contexts::BYTES / 4 / 2].into();
        for prompt in ["a", "b", "c"] {
            contexts.put(prompt, &large).unwrap();
        }
        assert_eq!(contexts.0.iter().map(|(prompt, _)| prompt.as_str()).collect::<Vec<_>>(), ["b", "c"]);
    }
}
