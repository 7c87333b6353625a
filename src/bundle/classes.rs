//! Looks a class up by what a person calls it.

#![forbid(unsafe_code)]

use super::manifest::Classes;
use crate::Result;
use crate::error::invalid_argument;

impl Classes {
    /// The number of the class called `name`: a label (any case), or the number itself.
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) names the nearest label and lists the others.
    pub fn find(&self, name: &str) -> Result<i64> {
        let labels = self.labels.as_deref().unwrap_or_default();
        if let Some(found) = labels.iter().position(|label| label.eq_ignore_ascii_case(name)) {
            return Ok(found as i64);
        }
        if let Ok(number) = name.parse::<i64>()
            && ((0..i64::from(self.count)).contains(&number) || number == self.null)
        {
            return Ok(number);
        }
        let shown = name.escape_debug();
        let similar =
            |label: &&String| strsim::damerau_levenshtein(&label.to_lowercase(), &name.to_lowercase());
        let message = match labels.iter().min_by_key(similar) {
            Some(nearest) => {
                let known = labels.iter().take(32).map(String::as_str).collect::<Vec<_>>().join(", ");
                let more = if labels.len() > 32 { ", ..." } else { "" };
                format!("no class '{shown}'; nearest is '{nearest}', known are {known}{more}")
            }
            None => {
                format!("no class '{shown}'; this bundle has numbers 0 to {} and no labels", self.count - 1)
            }
        };
        Err(invalid_argument(message))
    }
}
