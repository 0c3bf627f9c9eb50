//! Where a product knows no inactive accounts, deactivation takes away what gives access. Here that is read, and written
//! down before it is taken; and the memberships are kept in step when it was taken or given back.

use super::engine::Engine;
use super::plan::Protection;
use super::worker::{Shield, Stop, Work};
use crate::domain::{Action, Applied, HeldGroup, Holdings, Owner};
use crate::mapping::Rules;
use crate::scim::fold::fold_text;
use crate::targets::Target;

impl Engine {
    /// Reads what a planned deactivation is going to take. It goes into the action, which takes nothing else, and
    /// into the account, which is stored before anything is done.
    pub(super) async fn remember(
        &self,
        job: &mut Work<'_>,
        rules: &Rules,
        client: &dyn Target,
    ) -> Result<(), Stop> {
        if !client.capabilities().takes_memberships {
            return Ok(());
        }
        let shield = Shield {
            rules,
            target: client.protected().await?,
        };
        for action in &mut job.plan.actions {
            let Action::Deactivate {
                remote_id,
                username,
                takes,
                ..
            } = action
            else {
                continue;
            };
            let has = client.holdings(remote_id, username).await?;
            job.answered = true;
            let mut found = Holdings::default();
            for group in has.groups {
                if shield.group(&group.name).is_some() {
                    found.kept.push(group.name);
                    continue;
                }
                let known = job.current.groups.get(&fold_text(&group.name));
                let owner = known.map_or(Owner::Foreign, |(_, owner)| *owner);
                let name = group.name;
                found.groups.push(HeldGroup { name, owner });
            }
            found.permissions = has.permissions;
            if let Some(account) = &mut job.account {
                account
                    .taken
                    .get_or_insert_with(Holdings::default)
                    .add(found.clone());
            }
            *takes = Some(found);
        }
        Ok(())
    }
}

impl Work<'_> {
    /// The memberships after they were taken or given back: each is whose it was.
    pub(super) fn holds_now(&mut self, applied: &Applied) {
        let (Some(observed), Some(account)) = (&applied.account, &self.account) else {
            return;
        };
        let before = std::mem::take(&mut self.current.groups);
        for name in &observed.groups {
            let folded = fold_text(name);
            let known = before.get(&folded).map(|(_, owner)| *owner);
            let owner = known
                .or_else(|| account.taken.as_ref()?.owner_of(name))
                .unwrap_or(Owner::Foreign);
            self.current.groups.insert(folded, (name.clone(), owner));
        }
        self.read = true;
    }
}
