//! What `usher check` says of a Bitbucket.

use std::collections::BTreeMap;

use super::wire::{Directories, License, Properties, User};
use super::{BitbucketDc, CAPABILITIES, account_of};
use crate::domain::Failure;
use crate::targets::{Check, Page};

impl BitbucketDc {
    pub(super) async fn try_out(&self) -> Result<Check, Failure> {
        let response = self.rest.get("/application-properties", &[]).await?;
        let properties = response.json::<Properties>().ok();
        let Some(properties) = properties.filter(|_| response.is_success()) else {
            return Err(Failure::Rejected {
                field: Some("base_url".to_owned()),
                text: format!(
                    "{} is not the address of a Bitbucket: {} answered {}{}; give the address that people use, \
                     context path included",
                    self.rest.base_url(),
                    response.what(),
                    response.status,
                    if response.is_html() { " with HTML" } else { "" }
                ),
            });
        };
        let account = account_of(&response).or_else(|| self.account.clone());
        let mut check = Check {
            product: CAPABILITIES.product.to_owned(),
            version: properties.version,
            account: account.unwrap_or_else(|| "an account that it does not name".to_owned()),
            ..Check::default()
        };
        match self.read_protected().await {
            Ok(protected) => check.account = protected.users.join(", "),
            // It says what is missing; the rest cannot be asked.
            Err(Failure::Unauthorized { text }) => {
                check
                    .warnings
                    .push(format!("nothing can be written: {text}"));
                return Ok(check);
            }
            Err(failure) => return Err(failure),
        }
        check
            .rights
            .push("administers Bitbucket (ADMIN): may write users and groups".to_owned());
        if let Some(own) = self.by_name(&check.account).await?
            && self.has(&own, "SYS_ADMIN").await?
        {
            check
                .rights
                .push("system administrator (SYS_ADMIN): may write administrators too".to_owned());
        }
        self.check_directories(&mut check).await?;
        self.check_licence(&mut check).await?;
        Ok(check)
    }

    /// Which directory new accounts go to is nowhere told; which accounts cannot be changed is.
    async fn check_directories(&self, check: &mut Check) -> Result<(), Failure> {
        let response = self.rest.get("/admin/user-directories", &[]).await?;
        if response.is_success() {
            let all = response.json::<Directories>()?.all();
            let names = all.iter().map(|directory| match &directory.kind {
                Some(kind) => format!("{:?} ({kind})", directory.name),
                None => format!("{:?}", directory.name),
            });
            check.rights.push(format!(
                "user directories: {}; new accounts go to the first that takes them",
                names.collect::<Vec<_>>().join(", ")
            ));
        }
        let users: Page<User> = self.page("/admin/users", &[], None).await?;
        let mut writable: BTreeMap<&str, bool> = BTreeMap::new();
        for user in &users.items {
            if let (Some(name), Some(mutable)) = (&user.directory_name, user.mutable_details) {
                *writable.entry(name).or_default() |= mutable;
            }
        }
        for (name, writable) in writable {
            if writable {
                check
                    .rights
                    .push(format!("the accounts of directory {name:?} can be changed"));
            } else {
                check.warnings.push(format!(
                    "the accounts of directory {name:?} cannot be changed here: it is read-only; write to where they \
                     come from instead"
                ));
            }
        }
        Ok(())
    }

    async fn check_licence(&self, check: &mut Check) -> Result<(), Failure> {
        let response = self.rest.get("/admin/license", &[]).await?;
        if !response.is_success() {
            return Ok(());
        }
        if let Some((taken, seats)) = response.json::<License>()?.seats() {
            if taken < seats {
                check
                    .rights
                    .push(format!("{taken} of {seats} licences are taken"));
            } else {
                check.warnings.push(format!(
                    "{taken} of {seats} licences are taken: new accounts are refused until one is free"
                ));
            }
        }
        Ok(())
    }
}
