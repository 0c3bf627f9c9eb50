//! What goes wrong, and when: faults ordered by a test, and a seeded mix of them.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// One way in which a request goes wrong.
#[derive(Debug, Clone, PartialEq)]
pub enum FaultKind {
    /// Answers with this status; nothing is done.
    Status {
        /// The HTTP status.
        status: u16,
        /// Value of the `Retry-After` header: seconds or an HTTP date.
        retry_after: Option<String>,
        /// Whether the four `X-RateLimit` headers of the Data Center products are sent.
        rate_headers: bool,
    },
    /// Says nothing for this long, then closes the connection; nothing is done.
    Hang(Duration),
    /// Closes the connection without an answer; nothing is done.
    DropBefore,
    /// Does the work, then closes the connection without an answer.
    DropAfter,
    /// Answers 200 with an HTML page, as a proxy or a login page would; nothing is done.
    Garbage,
    /// Does the work at once and answers this much later, so that a client that gives up early
    /// finds the work done.
    Slow(Duration),
}

impl FaultKind {
    /// A throttled answer: 429 with `Retry-After` in seconds and the four rate headers.
    pub fn throttled(retry_after_s: u32) -> Self {
        Self::Status {
            status: 429,
            retry_after: Some(retry_after_s.to_string()),
            rate_headers: true,
        }
    }

    /// A bare answer with this status.
    pub fn status(status: u16) -> Self {
        Self::Status {
            status,
            retry_after: None,
            rate_headers: false,
        }
    }

    /// A short name, as it stands in [`crate::Recorded::fault`].
    pub fn name(&self) -> &'static str {
        match self {
            Self::Status { .. } => "status",
            Self::Hang(_) => "hang",
            Self::DropBefore => "drop-before",
            Self::DropAfter => "drop-after",
            Self::Garbage => "garbage",
            Self::Slow(_) => "slow",
        }
    }
}

/// Which requests a fault strikes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Only {
    /// All.
    #[default]
    Any,
    /// All but GET.
    Writes,
    /// GET.
    Reads,
    /// Those whose path contains this text.
    Path(String),
    /// Those with this method whose path contains this text.
    MethodPath(String, String),
}

impl Only {
    /// Requests whose path contains `part`.
    pub fn path(part: impl Into<String>) -> Self {
        Self::Path(part.into())
    }

    /// Requests with this method whose path contains `part`.
    pub fn method_path(method: impl Into<String>, part: impl Into<String>) -> Self {
        Self::MethodPath(method.into(), part.into())
    }

    /// Whether a request is struck.
    pub fn matches(&self, method: &str, path: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Writes => method != "GET",
            Self::Reads => method == "GET",
            Self::Path(part) => path.contains(part.as_str()),
            Self::MethodPath(wanted, part) => {
                wanted.eq_ignore_ascii_case(method) && path.contains(part.as_str())
            }
        }
    }
}

/// A fault that strikes the next matching requests.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    /// What happens.
    pub kind: FaultKind,
    /// To which requests.
    pub only: Only,
    /// To how many of them; `usize::MAX` for all until [`clear`](crate::jira::Jira::clear_faults).
    pub times: usize,
}

impl Fault {
    /// Strikes the next request, whichever it is.
    pub fn once(kind: FaultKind) -> Self {
        Self {
            kind,
            only: Only::Any,
            times: 1,
        }
    }

    /// The same fault for these requests alone.
    pub fn only(self, only: Only) -> Self {
        Self { only, ..self }
    }

    /// The same fault that many times.
    pub fn times(self, times: usize) -> Self {
        Self { times, ..self }
    }
}

/// A seeded random mix of faults: the same seed and the same order of requests give the same
/// faults. Ordered faults come first; chaos is asked only where none of them strikes.
#[derive(Debug, Clone, PartialEq)]
pub struct Chaos {
    /// Where the random numbers start.
    pub seed: u64,
    /// Which requests are in danger.
    pub only: Only,
    /// Faults with their probability (0 to 1, summing up to at most 1; the rest is calm).
    pub mix: Vec<(f64, FaultKind)>,
}

impl Chaos {
    /// About a third of the requests go wrong, in every way there is, with waits short enough
    /// for a test.
    pub fn new(seed: u64) -> Self {
        let short = Duration::from_millis(20);
        Self {
            seed,
            only: Only::Any,
            mix: vec![
                (0.06, FaultKind::throttled(0)),
                (0.06, FaultKind::status(503)),
                (0.02, FaultKind::status(500)),
                (0.05, FaultKind::DropBefore),
                (0.06, FaultKind::DropAfter),
                (0.03, FaultKind::Garbage),
                (0.02, FaultKind::Hang(short)),
                (0.05, FaultKind::Slow(short)),
            ],
        }
    }
}

/// The faults still to come.
#[derive(Debug, Default)]
pub(crate) struct FaultBook {
    queue: Vec<Fault>,
    chaos: Option<(Chaos, StdRng)>,
}

impl FaultBook {
    pub(crate) fn add(&mut self, fault: Fault) {
        if fault.times > 0 {
            self.queue.push(fault);
        }
    }

    pub(crate) fn clear(&mut self) {
        self.queue.clear();
    }

    pub(crate) fn set_chaos(&mut self, chaos: Option<Chaos>) {
        self.chaos = chaos.map(|chaos| {
            let random = StdRng::seed_from_u64(chaos.seed);
            (chaos, random)
        });
    }

    /// How many ordered strikes are left.
    pub(crate) fn pending(&self) -> usize {
        self.queue
            .iter()
            .fold(0, |sum, fault| sum.saturating_add(fault.times))
    }

    /// Takes the fault for this request, if it has one.
    pub(crate) fn take(&mut self, method: &str, path: &str) -> Option<FaultKind> {
        if let Some(at) = self
            .queue
            .iter()
            .position(|fault| fault.only.matches(method, path))
        {
            let fault = self.queue.get_mut(at)?;
            let kind = fault.kind.clone();
            if fault.times != usize::MAX {
                fault.times -= 1;
            }
            if fault.times == 0 {
                self.queue.remove(at);
            }
            return Some(kind);
        }
        let (chaos, random) = self.chaos.as_mut()?;
        if !chaos.only.matches(method, path) {
            return None;
        }
        let mut draw: f64 = random.random();
        for (probability, kind) in &chaos.mix {
            if draw < *probability {
                return Some(kind.clone());
            }
            draw -= probability;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_strikes_only_what_it_names_and_only_so_often() {
        let mut book = FaultBook::default();
        book.add(
            Fault::once(FaultKind::DropBefore)
                .only(Only::path("/group"))
                .times(2),
        );
        assert_eq!(book.take("GET", "/rest/api/2/user"), None);
        assert_eq!(
            book.take("GET", "/rest/api/2/group/user"),
            Some(FaultKind::DropBefore)
        );
        assert_eq!(book.pending(), 1);
        assert_eq!(
            book.take("POST", "/rest/api/2/group"),
            Some(FaultKind::DropBefore)
        );
        assert_eq!(book.take("POST", "/rest/api/2/group"), None);
    }

    #[test]
    fn faults_without_a_number_stay_until_cleared() {
        let mut book = FaultBook::default();
        book.add(
            Fault::once(FaultKind::Garbage)
                .only(Only::Writes)
                .times(usize::MAX),
        );
        for _ in 0..50 {
            assert_eq!(book.take("PUT", "/x"), Some(FaultKind::Garbage));
        }
        assert_eq!(book.take("GET", "/x"), None);
        book.clear();
        assert_eq!(book.take("PUT", "/x"), None);
    }

    #[test]
    fn chaos_repeats_itself_for_a_seed_and_strikes_as_often_as_it_says() {
        let draw = |seed| {
            let mut book = FaultBook::default();
            book.set_chaos(Some(Chaos::new(seed)));
            (0..4000)
                .map(|_| book.take("GET", "/x"))
                .collect::<Vec<_>>()
        };
        let first = draw(7);
        assert_eq!(first, draw(7));
        assert_ne!(first, draw(8));
        let struck = first.iter().flatten().count();
        assert!(
            (1200..1600).contains(&struck),
            "35 % of 4000 expected, got {struck}"
        );
        for (_, kind) in Chaos::new(7).mix {
            assert!(
                first.iter().flatten().any(|it| *it == kind),
                "{kind:?} never struck"
            );
        }
    }
}
