//! What a product says of an action that it carried out.

use crate::domain::{Applied, Observed};

/// It was done, and the account is like that now.
pub(in crate::targets) fn done(account: Observed) -> Applied {
    Applied {
        account: Some(account),
        ..Applied::default()
    }
}

/// The account was like that before.
pub(in crate::targets) fn already(account: Observed) -> Applied {
    Applied {
        account: Some(account),
        ..was_so()
    }
}

/// There was nothing to do.
pub(in crate::targets) fn was_so() -> Applied {
    Applied {
        already: true,
        ..Applied::default()
    }
}
