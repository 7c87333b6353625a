//! A request's prompts on their way to contexts.

use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Instant;

use ndarray::ArrayD;

use super::contexts::Contexts;
use super::{Session, Taken, coders, shape};
use crate::backend::{Input, Pace};
use crate::bundle::Role;
use crate::contract::PortRole;
use crate::kernels::DefaultFloats;
use crate::text::Tokens;
use crate::{CancelToken, Model, Request, Result, memory};

/// Prompts that the model knows no context of, and the network that makes them.
pub(super) struct Prompts {
    encoder: Taken,
    /// What each of the network's inputs is.
    inputs: Vec<PortRole>,
    /// The places of their contexts, the next one last.
    left: Vec<(usize, String, Tokens)>,
    /// The context at hand.
    answer: Vec<f32>,
}

impl Prompts {
    /// Gives `contexts` what is known of a request's prompts, and makes tokens of the others; none if there are no
    /// others.
    ///
    /// # Errors
    /// As [`Model::load`], of the text encoder and the tokenizer.
    pub(super) fn begin(
        session: &mut Session,
        request: &Request,
        contexts: &mut Contexts,
    ) -> Result<Option<Self>> {
        let model = session.model.clone();
        contexts.settle(request, |prompt| model.texts().context(prompt));
        if contexts.open(request).next().is_none() {
            return Ok(None);
        }
        let tokenizer = model.tokenizer(&request.cancel)?;
        let mut left = Vec::new();
        for (place, prompt) in contexts.open(request) {
            let tokens = tokenizer.encode(prompt)?;
            if tokens.cut {
                let most = tokens.tokens.len();
                log::warn!(
                    "prompt: longer than {most} tokens; what is beyond is left out: '{}'",
                    start(prompt)
                );
            }
            memory::push(&mut left, (place, prompt.to_owned(), tokens))?;
        }
        left.reverse();
        let contract = model.contract(Role::Text, 1)?;
        let mut answer = Vec::new();
        memory::resize(&mut answer, contexts.len(), 0.0)?;
        let encoder = session.take(Role::Text, model.manifest().extent(1), &request.cancel)?;
        let inputs = contract.inputs.iter().map(|port| port.role).collect();
        Ok(Some(Self { encoder, inputs, left, answer }))
    }

    /// Goes on with the prompt at hand, and those behind it, until it is time to pause.
    ///
    /// # Errors
    /// `NonFinite`: what the network answers. Those of running it.
    pub(super) fn advance(
        &mut self,
        model: &Model,
        contexts: &mut Contexts,
        until: Option<Instant>,
        cancel: &CancelToken,
    ) -> Poll<Result<()>> {
        while let Some((place, prompt, tokens)) = self.left.last() {
            let context = match model.texts().context(prompt) {
                // Twice in one request, or another session's meanwhile.
                Some(known) => {
                    self.encoder.1.abandon();
                    known
                }
                None => {
                    let (mut inputs, mut count) = ([Input::I64(&[]); 3], 0);
                    for role in &self.inputs {
                        inputs[count] = Input::I64(match role {
                            PortRole::TokenMask => &tokens.mask,
                            PortRole::TokenTypes => &tokens.types,
                            _ => &tokens.tokens,
                        });
                        count += 1;
                    }
                    let pace = Pace::new(cancel, until);
                    ready!(self.encoder.1.advance(&inputs[..count], &mut self.answer, pace))?;
                    coders::check(Role::Text, &self.answer)?;
                    let made: Arc<[f32]> = self.answer.as_slice().into();
                    model.texts().keep(prompt, &made)?;
                    made
                }
            };
            contexts.set(*place, &context);
            self.left.pop();
            if !self.left.is_empty() && until.is_some_and(|until| Instant::now() >= until) {
                return Poll::Pending;
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Returns the network to the session; a prompt under way is given up.
    pub(super) fn give_back(mut self, session: &mut Session) {
        self.encoder.1.abandon();
        session.put(self.encoder);
    }
}

/// The first words of a prompt, for messages.
fn start(prompt: &str) -> String {
    const SHOWN: usize = 40;
    let text: String = prompt.chars().take(SHOWN).collect();
    let more = if prompt.chars().nth(SHOWN).is_some() { "…" } else { "" };
    format!("{}{more}", text.escape_debug())
}

impl Session {
    /// The contexts of some prompts, `[N, D]` or, of a model whose contexts are tokens, `[N, L, D]`: what
    /// [`Request::with_context`] takes, and what a request with these [prompts](Request::prompts) is made under.
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument): no prompts, or no text encoder in the bundle.
    /// [`LimitExceeded`](crate::ErrorKind::LimitExceeded): a prompt that is too long.
    /// [`Unsupported`](crate::ErrorKind::Unsupported): this build has no tokenizer (the feature `text`).
    pub fn encode_prompts(&mut self, prompts: &[impl AsRef<str>]) -> Result<ArrayD<f32>> {
        let _default = DefaultFloats::enter();
        self.model.check_process()?;
        let (model, request) = (self.model.clone(), Request::of_prompts(prompts.iter().map(AsRef::as_ref)));
        request.check_prompts(model.bundle())?;
        let mut contexts = Contexts::of_prompts(&request, model.manifest())?;
        if let Some(mut work) = Prompts::begin(self, &request, &mut contexts)? {
            let outcome = work.advance(&model, &mut contexts, None, &request.cancel);
            work.give_back(self);
            if let Poll::Ready(outcome) = outcome {
                outcome?;
            }
        }
        let one = model.manifest().context_shape().unwrap_or_default();
        let floats = contexts.floats();
        let floats = memory::collected(floats.len(), floats.iter().copied())?;
        ArrayD::from_shape_vec([vec![prompts.len()], one].concat(), floats).map_err(shape)
    }
}
