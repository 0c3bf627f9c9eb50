//! What every target must do, whatever the product. A case gets a fresh product, looks at it behind the target's
//! back, and fails if the two disagree.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use usher::domain::{Action, Applied, Failure, LeadSuccessors, Lookup, Observed};
use usher::targets::{ByEmail, Capabilities, Member, Page, Target};

/// A product and the target that writes to it.
pub(crate) struct Fixture {
    pub(crate) target: Arc<dyn Target>,
    pub(crate) backstage: Box<dyn Backstage>,
}

/// The product as it is, seen and changed by somebody else.
#[async_trait]
pub(crate) trait Backstage: Send + Sync {
    /// An account with its groups; `remote_id` is left to the product.
    async fn seed_user(&self, user: Observed);
    async fn seed_group(&self, name: &str);
    async fn user(&self, username: &str) -> Option<Observed>;
    async fn groups(&self) -> Vec<String>;
    async fn remove_user(&self, username: &str);
    async fn trouble(&self, trouble: Trouble, strikes: Strikes);

    /// What this instance can do, where its version can do less than the product `can`.
    fn able(&self, can: &Capabilities) -> Capabilities {
        *can
    }

    /// From now on the credential is refused, or taken again. False: there is none.
    async fn refuse_credential(&self, _refused: bool) -> bool {
        false
    }

    /// The account that the target signs in with may write nothing any more. False: no such account can be told from
    /// a credential that is refused.
    async fn take_rights(&self) -> bool {
        false
    }

    /// An account is from now on in a directory that cannot be written. False: there are none.
    async fn set_read_only(&self, _username: &str) -> bool {
        false
    }

    /// More than a page of any list holds.
    fn many(&self) -> usize {
        1005
    }

    /// A list of groups may be cut short here; then it is refused.
    fn hides_groups(&self) -> bool {
        false
    }

    /// A deletion goes on after it was answered.
    fn deletes_later(&self) -> bool {
        false
    }
}

/// What it goes wrong with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Strikes {
    NextRead,
    NextWrite,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    Throttled(Option<u32>),
    ServerError,
    Hang,
    ConnectionLost,
    /// A page for people, as login pages and proxies answer.
    Page,
    /// Done, but the answer does not arrive.
    LostReply,
}

/// Those in which nothing is done, but the one that takes its time.
const TROUBLES: [Trouble; 5] = [
    Trouble::Throttled(Some(7)),
    Trouble::Throttled(None),
    Trouble::ServerError,
    Trouble::ConnectionLost,
    Trouble::Page,
];

/// Names that go wrong wherever one is pasted into an address, a path or a pattern.
const ODD_NAMES: [&str; 10] = [
    "with space",
    "plus+plus",
    "this & that",
    "100% sure",
    "a/b/c",
    "müller-größe",
    "o'neill \"q\"",
    "semi;colon,comma",
    "?x=1#y",
    "日本語",
];

/// Runs every case on a fresh fixture; returns how many there were.
pub(crate) async fn run_all(make: impl AsyncFn() -> Fixture) -> usize {
    let mut cases = 0;
    macro_rules! run {
        ($($case:ident)+) => {$(
            eprintln!("  {}", stringify!($case));
            $case(&make().await).await;
            cases += 1;
        )+};
    }
    run! {
        create
        create_again
        create_over_a_foreign_account
        find_to_adopt
        find_nobody
        an_address_of_two_is_nobodys
        update
        update_nothing
        rename
        rename_to_a_taken_name
        deactivate
        deactivate_again
        deactivate_and_back
        reactivate
        delete
        create_group
        create_group_again
        add_member
        add_member_again
        add_member_to_no_group
        add_nobody
        remove_member
        remove_member_again
        remove_from_no_group
        many_members
        changes_to_nobody
        case_does_not_matter
        odd_user_names
        odd_group_names
        troubles_with_writes
        troubles_with_reads
        no_answer_at_all
        lost_reply_to_a_create
        lost_reply_to_an_update
        lost_reply_to_a_rename
        lost_reply_to_a_deactivation
        lost_reply_to_a_reactivation
        lost_reply_to_a_deletion
        lost_reply_to_a_group
        lost_reply_to_a_membership
        lost_reply_to_a_removal
        wrong_credentials
        missing_permission
        read_only_directory
        lists_everybody
        lists_all_groups
        lists_all_members
        lists_no_members_of_no_group
        tried_out
    }
    cases
}

/// Somebody active, in no group.
pub(crate) fn called(name: &str) -> Observed {
    Observed {
        username: name.into(),
        email: Some(format!("{name}@example.com")),
        ..ada()
    }
}

/// `ada`, active, in no group.
pub(crate) fn ada() -> Observed {
    Observed {
        remote_id: String::new(),
        username: "ada".into(),
        display_name: "Ada Lovelace".into(),
        email: Some("ada@example.com".into()),
        active: true,
        groups: Vec::new(),
    }
}

pub(crate) fn create_user(user: &Observed) -> Action {
    Action::CreateUser {
        username: user.username.clone(),
        display_name: user.display_name.clone(),
        email: user.email.clone().unwrap(),
    }
}

pub(crate) fn deactivation(user: &Observed, successors: LeadSuccessors) -> Action {
    let (remote_id, username) = (user.remote_id.clone(), user.username.clone());
    Action::Deactivate {
        remote_id,
        username,
        successors,
        takes: None,
    }
}

pub(crate) fn deactivating(user: &Observed) -> Action {
    deactivation(user, LeadSuccessors::default())
}

fn reactivation(user: &Observed) -> Action {
    Action::Reactivate {
        remote_id: user.remote_id.clone(),
        username: user.username.clone(),
        gives: None,
    }
}

fn deletion(user: &Observed) -> Action {
    Action::DeleteUser {
        remote_id: user.remote_id.clone(),
        username: user.username.clone(),
    }
}

pub(crate) fn renaming(user: &Observed, to: &str) -> Action {
    let (remote_id, from) = (user.remote_id.clone(), user.username.clone());
    Action::RenameUser {
        remote_id,
        from,
        to: to.into(),
    }
}

fn updating(user: &Observed, display_name: Option<&str>, email: Option<&str>) -> Action {
    Action::UpdateUser {
        remote_id: user.remote_id.clone(),
        username: user.username.clone(),
        display_name: display_name.map(str::to_owned),
        email: email.map(str::to_owned),
    }
}

fn group(name: &str) -> Action {
    Action::CreateGroup { name: name.into() }
}

pub(crate) fn adding(user: &Observed, group: &str) -> Action {
    let (remote_id, username) = (user.remote_id.clone(), user.username.clone());
    Action::AddMember {
        remote_id,
        username,
        group: group.into(),
    }
}

fn removing(user: &Observed, group: &str) -> Action {
    let (remote_id, username) = (user.remote_id.clone(), user.username.clone());
    Action::RemoveMember {
        remote_id,
        username,
        group: group.into(),
    }
}

impl Fixture {
    pub(crate) fn can(&self) -> Capabilities {
        self.backstage.able(self.target.capabilities())
    }

    /// Whether every account is found by its address.
    fn finds_emails(&self) -> bool {
        self.can().by_email == ByEmail::Everybody
    }

    /// As the target tells of it.
    fn as_told(&self, user: Observed) -> Observed {
        let email = user.email.filter(|_| self.can().reads_email);
        Observed { email, ..user }
    }

    /// Puts an account there; it is returned as the target tells of it.
    pub(crate) async fn seeded(&self, user: Observed) -> Observed {
        let name = user.username.clone();
        self.backstage.seed_user(user).await;
        self.there(&name).await
    }

    /// What brings the account back; to be asked before it is deactivated.
    pub(crate) async fn return_of(&self, user: &Observed) -> Action {
        let (remote_id, username) = (user.remote_id.clone(), user.username.clone());
        let holdings = self.target.holdings(&remote_id, &username).await.unwrap();
        Action::Reactivate {
            remote_id,
            username,
            gives: self.can().takes_memberships.then_some(holdings),
        }
    }

    /// An inactive account, and what brings it back.
    async fn inactive(&self) -> (Observed, Action) {
        let active = self.can().takes_memberships;
        let user = self.seeded(Observed { active, ..ada() }).await;
        let back = self.return_of(&user).await;
        if active {
            self.done(&deactivating(&user)).await;
        }
        (self.there("ada").await, back)
    }

    /// What the product really has.
    async fn email_of(&self, username: &str) -> Option<String> {
        self.backstage.user(username).await.unwrap().email
    }

    /// A display name with every character that is awkward somewhere and not refused here.
    fn odd_display_name(&self, name: &str) -> String {
        let without = self.can().display_names_without;
        let odd = format!("{name} <&> \"%41\"");
        odd.chars().filter(|c| !without.contains(*c)).collect()
    }

    /// Whether a name can be written to; where it cannot, that is what its refusals say.
    fn takes(&self, name: &str) -> bool {
        self.can().slashes_in_names || !name.contains(['/', '\\'])
    }

    /// Does what this instance may not be able to do. If it is not, the target says so and leaves everything as it
    /// is; `None` then.
    async fn done_if(&self, able: bool, action: &Action) -> Option<Applied> {
        if able {
            return Some(self.done(action).await);
        }
        self.cannot(action).await;
        None
    }

    /// Refused in words, or not done with a note that says why: never believed, never tried for ever.
    async fn cannot(&self, action: &Action) {
        let name = subject(action);
        let before = self.backstage.user(name).await;
        match self.target.apply(action).await {
            Ok(applied) => {
                assert!(
                    !applied.notes.is_empty(),
                    "{action:?} was not done, silently"
                );
                assert_eq!(
                    applied.account,
                    before.clone().map(|user| self.as_told(user))
                );
            }
            Err(failure) => is_rejected(&failure),
        }
        assert_eq!(self.backstage.user(name).await, before, "{action:?}");
    }

    pub(crate) async fn done(&self, action: &Action) -> Applied {
        let applied = self
            .target
            .apply(action)
            .await
            .unwrap_or_else(|e| panic!("{action:?}: {e}"));
        assert!(!applied.already, "{action:?} found it done already");
        applied
    }

    pub(crate) async fn already(&self, action: &Action) -> Applied {
        let applied = self
            .target
            .apply(action)
            .await
            .unwrap_or_else(|e| panic!("{action:?}: {e}"));
        assert!(
            applied.already,
            "{action:?} does not say that it was so already"
        );
        applied
    }

    pub(crate) async fn refused(&self, action: &Action) -> Failure {
        self.target
            .apply(action)
            .await
            .expect_err(&format!("{action:?}"))
    }

    async fn there(&self, username: &str) -> Observed {
        let user = self.backstage.user(username).await;
        self.as_told(user.unwrap_or_else(|| panic!("{username} is not there")))
    }

    /// The account behind the target's back is the one that the target tells of.
    async fn agrees(&self, applied: &Applied) {
        let told = applied.account.clone().expect("an account is told of");
        let found = self
            .target
            .observe(Lookup::RemoteId(&told.remote_id))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(sorted(told.clone()), sorted(found));
        assert_eq!(sorted(self.there(&told.username).await), sorted(told));
    }

    async fn lost_reply(&self, action: &Action) -> Applied {
        self.backstage
            .trouble(Trouble::LostReply, Strikes::NextWrite)
            .await;
        let failure = self.refused(action).await;
        assert!(matches!(failure, Failure::Transient { .. }), "{failure:?}");
        self.target
            .apply(action)
            .await
            .unwrap_or_else(|e| panic!("again, {action:?}: {e}"))
    }
}

/// The user name that an action is about.
fn subject(action: &Action) -> &str {
    match action {
        Action::CreateUser { username, .. }
        | Action::UpdateUser { username, .. }
        | Action::Deactivate { username, .. }
        | Action::Reactivate { username, .. }
        | Action::DeleteUser { username, .. }
        | Action::AddMember { username, .. }
        | Action::RemoveMember { username, .. }
        | Action::RenameUser { from: username, .. } => username,
        Action::CreateGroup { .. } => "",
    }
}

fn without_groups(user: Observed) -> Observed {
    Observed {
        groups: Vec::new(),
        ..user
    }
}

fn sorted(mut user: Observed) -> Observed {
    user.groups.sort();
    user
}

fn is_gone(failure: &Failure) {
    assert!(matches!(failure, Failure::Gone { .. }), "{failure:?}");
}

fn is_rejected(failure: &Failure) {
    assert!(matches!(failure, Failure::Rejected { .. }), "{failure:?}");
}

async fn create(f: &Fixture) {
    let applied = f.done(&create_user(&ada())).await;
    let account = applied.account.unwrap();
    let found = f.target.observe(Lookup::RemoteId(&account.remote_id)).await;
    let found = found.unwrap().unwrap();
    // Which groups the product has put it in may be left to a look.
    assert_eq!(
        without_groups(account.clone()),
        without_groups(found.clone())
    );
    assert_eq!(sorted(f.there("ada").await), sorted(found));
    let address = Some("ada@example.com");
    assert_eq!((account.username.as_str(), account.active), ("ada", true));
    assert_eq!(account.display_name, "Ada Lovelace");
    assert_eq!(
        account.email.as_deref(),
        address.filter(|_| f.can().reads_email)
    );
    assert_eq!(f.email_of("ada").await.as_deref(), address);
    assert!(!account.remote_id.is_empty());
}

async fn create_again(f: &Fixture) {
    let first = f.done(&create_user(&ada())).await;
    let again = f.already(&create_user(&ada())).await;
    assert_eq!(
        first.account.map(without_groups),
        again.account.map(without_groups)
    );
}

async fn create_over_a_foreign_account(f: &Fixture) {
    let others = [
        Observed {
            display_name: "Ada Other".into(),
            ..ada()
        },
        Observed {
            email: Some("other@example.com".into()),
            ..ada()
        },
        Observed {
            active: false,
            ..ada()
        },
    ];
    for foreign in others {
        let told_apart = f.can().reads_email || foreign.email == ada().email;
        let before = f.seeded(foreign).await;
        if told_apart {
            is_rejected(&f.refused(&create_user(&ada())).await);
        } else {
            // Only the address differs, and it cannot be read: the account is as it should be, and stays.
            f.already(&create_user(&ada())).await;
        }
        let capital = Observed {
            username: "ADA".into(),
            ..ada()
        };
        is_rejected(&f.refused(&create_user(&capital)).await);
        assert_eq!(f.there("ada").await, before);
        f.backstage.remove_user("ada").await;
    }
}

async fn find_to_adopt(f: &Fixture) {
    let groups = vec!["devs".to_owned(), "ops".to_owned()];
    let seeded = sorted(
        f.seeded(Observed {
            groups,
            active: false,
            ..ada()
        })
        .await,
    );
    for lookup in [
        Lookup::Username("ada"),
        Lookup::Email("ada@example.com"),
        Lookup::Email("Ada@Example.COM"),
        Lookup::RemoteId(&seeded.remote_id),
    ] {
        let found = f.target.observe(lookup).await.unwrap();
        let finds = f.finds_emails() || !matches!(lookup, Lookup::Email(_));
        let expected = finds.then_some(&seeded);
        assert_eq!(found.map(sorted).as_ref(), expected, "{lookup:?}");
    }
    assert_eq!(seeded.groups, ["devs", "ops"]);
    assert!(!seeded.active);
}

async fn find_nobody(f: &Fixture) {
    f.seeded(ada()).await;
    for lookup in [
        Lookup::Username("ad"),
        Lookup::Username("adaa"),
        Lookup::Username(""),
        Lookup::Email("da@example.com"),
        Lookup::Email("ada@example"),
        Lookup::Email(""),
        Lookup::RemoteId("no-such-key"),
        Lookup::RemoteId(""),
    ] {
        assert_eq!(f.target.observe(lookup).await, Ok(None), "{lookup:?}");
    }
}

async fn an_address_of_two_is_nobodys(f: &Fixture) {
    f.seeded(ada()).await;
    f.seeded(Observed {
        username: "ada2".into(),
        active: false,
        ..ada()
    })
    .await;
    assert_eq!(
        f.target.observe(Lookup::Email("ada@example.com")).await,
        Ok(None)
    );
}

async fn update(f: &Fixture) {
    let user = f
        .seeded(Observed {
            groups: vec!["devs".into()],
            ..ada()
        })
        .await;
    let (name, address) = ("Ada King", "king@example.com");
    if !f.can().update {
        f.cannot(&updating(&user, Some(name), None)).await;
        f.cannot(&updating(&user, None, Some(address))).await;
        return;
    }
    let applied = f.done(&updating(&user, Some(name), None)).await;
    f.agrees(&applied).await;
    let applied = f.done(&updating(&user, None, Some(address))).await;
    f.agrees(&applied).await;
    let account = applied.account.unwrap();
    assert_eq!(account.display_name, name);
    assert_eq!(
        account.email.as_deref(),
        Some(address).filter(|_| f.can().reads_email)
    );
    assert_eq!(f.email_of("ada").await.as_deref(), Some(address));
    assert_eq!(account.groups, ["devs"]);
}

async fn update_nothing(f: &Fixture) {
    let user = f.seeded(ada()).await;
    f.agrees(&f.already(&updating(&user, None, None)).await)
        .await;
}

async fn rename(f: &Fixture) {
    let user = f
        .seeded(Observed {
            groups: vec!["devs".into()],
            ..ada()
        })
        .await;
    let able = f.can().rename;
    let Some(applied) = f.done_if(able, &renaming(&user, "augusta")).await else {
        return;
    };
    f.agrees(&applied).await;
    let account = applied.account.unwrap();
    assert_eq!(
        (account.username.as_str(), &account.remote_id),
        ("augusta", &user.remote_id)
    );
    assert_eq!(account.groups, ["devs"]);
    assert_eq!(f.target.observe(Lookup::Username("ada")).await, Ok(None));
    // The stable key is what counts: a stale name beside it does no harm.
    let stale = updating(&user, Some("Augusta"), None);
    if let Some(applied) = f.done_if(f.can().update, &stale).await {
        assert_eq!(applied.account.unwrap().username, "augusta");
    }
    assert_eq!(
        f.done(&deactivating(&user)).await.account.unwrap().username,
        "augusta"
    );
}

async fn rename_to_a_taken_name(f: &Fixture) {
    let user = f.seeded(ada()).await;
    f.seeded(Observed {
        username: "bob".into(),
        email: Some("b@example.com".into()),
        ..ada()
    })
    .await;
    is_rejected(&f.refused(&renaming(&user, "Bob")).await);
    assert_eq!(f.there("ada").await, user);
}

async fn deactivate(f: &Fixture) {
    let user = f
        .seeded(Observed {
            groups: vec!["devs".into()],
            ..ada()
        })
        .await;
    let applied = f.done(&deactivating(&user)).await;
    f.agrees(&applied).await;
    let account = applied.account.unwrap();
    assert!(!account.active);
    let stay: &[&str] = if f.can().takes_memberships {
        &[]
    } else {
        &["devs"]
    };
    assert_eq!(account.groups, stay);
}

async fn deactivate_and_back(f: &Fixture) {
    let user = f
        .seeded(Observed {
            groups: vec!["devs".into(), "ops".into()],
            ..ada()
        })
        .await;
    let back = f.return_of(&user).await;
    f.done(&deactivating(&user)).await;
    let applied = f.done(&back).await;
    f.agrees(&applied).await;
    assert_eq!(sorted(f.there("ada").await), sorted(user));
    f.already(&back).await;
}

async fn deactivate_again(f: &Fixture) {
    let user = f
        .seeded(Observed {
            active: false,
            ..ada()
        })
        .await;
    f.agrees(&f.already(&deactivating(&user)).await).await;
}

async fn reactivate(f: &Fixture) {
    let (user, back) = f.inactive().await;
    assert!(!user.active);
    let applied = f.done(&back).await;
    f.agrees(&applied).await;
    assert!(applied.account.unwrap().active);
    f.already(&back).await;
}

async fn delete(f: &Fixture) {
    let user = f
        .seeded(Observed {
            groups: vec!["devs".into()],
            ..ada()
        })
        .await;
    f.done(&deletion(&user)).await;
    assert_eq!(f.backstage.user("ada").await, None);
    assert_eq!(
        f.target.observe(Lookup::RemoteId(&user.remote_id)).await,
        Ok(None)
    );
    f.already(&deletion(&user)).await;
}

async fn create_group(f: &Fixture) {
    assert_eq!(f.target.group_exists("Developers").await, Ok(None));
    f.done(&group("Developers")).await;
    assert!(
        f.backstage
            .groups()
            .await
            .contains(&"Developers".to_owned())
    );
    let name = f.target.group_exists("developers").await;
    assert_eq!(
        name,
        Ok(Some("Developers".into())),
        "as the product writes it"
    );
    assert_eq!(f.target.group_exists("Develop").await, Ok(None));
    assert_eq!(f.target.group_exists("").await, Ok(None));
    is_rejected(&f.refused(&group("")).await);
}

async fn create_group_again(f: &Fixture) {
    f.backstage.seed_group("devs").await;
    let before = f.backstage.groups().await;
    f.already(&group("devs")).await;
    f.already(&group("DEVS")).await;
    assert_eq!(f.backstage.groups().await, before);
}

async fn add_member(f: &Fixture) {
    let user = f
        .seeded(Observed {
            groups: vec!["ops".into()],
            ..ada()
        })
        .await;
    f.backstage.seed_group("devs").await;
    f.done(&adding(&user, "devs")).await;
    assert_eq!(sorted(f.there("ada").await).groups, ["devs", "ops"]);
}

async fn add_member_again(f: &Fixture) {
    let user = f
        .seeded(Observed {
            groups: vec!["devs".into()],
            ..ada()
        })
        .await;
    f.already(&adding(&user, "devs")).await;
    f.already(&adding(&user, "Devs")).await;
    assert_eq!(f.there("ada").await.groups, ["devs"]);
}

async fn add_member_to_no_group(f: &Fixture) {
    let user = f.seeded(ada()).await;
    let failure = f.refused(&adding(&user, "no-such-group")).await;
    is_gone(&failure);
    assert!(failure.to_string().contains("no-such-group"), "{failure}");
}

async fn add_nobody(f: &Fixture) {
    let user = f
        .seeded(Observed {
            groups: vec!["devs".into()],
            ..ada()
        })
        .await;
    f.backstage.remove_user("ada").await;
    is_gone(&f.refused(&adding(&user, "devs")).await);
}

async fn remove_member(f: &Fixture) {
    let user = f
        .seeded(Observed {
            groups: vec!["devs".into(), "ops".into()],
            ..ada()
        })
        .await;
    f.done(&removing(&user, "Devs")).await;
    assert_eq!(f.there("ada").await.groups, ["ops"]);
}

async fn remove_member_again(f: &Fixture) {
    let user = f
        .seeded(Observed {
            groups: vec!["ops".into()],
            ..ada()
        })
        .await;
    f.backstage.seed_group("devs").await;
    f.already(&removing(&user, "devs")).await;
    assert_eq!(f.there("ada").await.groups, ["ops"]);
}

async fn remove_from_no_group(f: &Fixture) {
    let user = f.seeded(ada()).await;
    f.already(&removing(&user, "no-such-group")).await;
    f.backstage.seed_group("devs").await;
    f.backstage.remove_user("ada").await;
    f.already(&removing(&user, "devs")).await;
}

/// Whoever is in it already, and nobody at all, stop none of the others.
async fn many_members(f: &Fixture) {
    let mut members = Vec::new();
    for i in 0..7 {
        let groups = if i == 2 {
            vec!["devs".into()]
        } else {
            Vec::new()
        };
        let user = Observed {
            username: format!("person{i}"),
            email: Some(format!("person{i}@example.com")),
            groups,
            ..ada()
        };
        members.push(member(&f.seeded(user).await));
    }
    f.backstage.seed_group("devs").await;
    f.backstage.remove_user("person4").await;
    let answers = f.target.add_members("Devs", &members).await;
    assert_eq!(answers.len(), members.len());
    for (member, answer) in members.iter().zip(answers) {
        if member.username == "person4" {
            is_gone(&answer.unwrap_err());
        } else {
            answer.unwrap();
            assert_eq!(f.there(&member.username).await.groups, ["devs"]);
        }
    }
    let early = Action::RemoveMember {
        remote_id: members[5].remote_id.clone(),
        username: members[5].username.clone(),
        group: "devs".to_owned(),
    };
    f.done(&early).await;
    for _ in 0..2 {
        let answers = f.target.remove_members("Devs", &members[..6]).await;
        assert_eq!(answers.len(), 6);
        for answer in answers {
            answer.unwrap();
        }
    }
    for answer in f
        .target
        .remove_members("no-such-group", &members[..3])
        .await
    {
        answer.unwrap();
    }
    for i in [0, 1, 2, 3, 5] {
        let user = f.there(&format!("person{i}")).await;
        assert_eq!(user.groups, Vec::<String>::new());
    }
    assert_eq!(f.there("person6").await.groups, ["devs"]);
    assert!(f.target.add_members("devs", &[]).await.is_empty());
    assert!(f.target.remove_members("devs", &[]).await.is_empty());
}

async fn changes_to_nobody(f: &Fixture) {
    let user = f.seeded(ada()).await;
    f.backstage.remove_user("ada").await;
    is_gone(&f.refused(&updating(&user, Some("Ada King"), None)).await);
    let failure = f.refused(&renaming(&user, "augusta")).await;
    if f.can().rename {
        is_gone(&failure);
    } else {
        is_rejected(&failure);
    }
    is_gone(&f.refused(&deactivating(&user)).await);
    is_gone(&f.refused(&reactivation(&user)).await);
    f.already(&deletion(&user)).await;
}

async fn case_does_not_matter(f: &Fixture) {
    let user = f
        .seeded(Observed {
            groups: vec!["Devs".into()],
            ..ada()
        })
        .await;
    let found = f
        .target
        .observe(Lookup::Username("ADA"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found, user);
    assert_eq!(found.groups, ["Devs"], "as the product writes it");
    // A change of case alone is none to some products: it must not fail.
    let able = f.can().rename;
    if let Some(applied) = f.done_if(able, &renaming(&user, "Ada")).await {
        let renamed = applied.account.unwrap();
        assert_eq!(renamed.username.to_lowercase(), "ada");
        assert_eq!(renamed.remote_id, user.remote_id);
    }
}

async fn odd_user_names(f: &Fixture) {
    f.backstage.seed_group("devs").await;
    for (i, name) in ODD_NAMES.into_iter().enumerate() {
        let email = format!("a+b&c'{i}@example.com");
        let display_name = f.odd_display_name(name);
        let user = f
            .seeded(Observed {
                username: name.into(),
                email: Some(email.clone()),
                ..ada()
            })
            .await;
        let found = f.target.observe(Lookup::Username(name)).await.unwrap();
        assert_eq!(found.as_ref(), Some(&user), "{name}");
        let found = f.target.observe(Lookup::Email(&email)).await.unwrap();
        let expected = f.finds_emails().then_some(&user);
        assert_eq!(found.as_ref(), expected, "{name}");
        for character in f.can().display_names_without.chars() {
            let refused = format!("Ada {character}");
            f.cannot(&updating(&user, Some(&refused), None)).await;
        }
        if !f.takes(name) {
            for action in [
                updating(&user, Some(&display_name), None),
                adding(&user, "devs"),
                deactivating(&user),
                deletion(&user),
            ] {
                f.cannot(&action).await;
            }
            continue;
        }
        let update = updating(&user, Some(&display_name), None);
        let updated = f.done_if(f.can().update, &update).await;
        if let Some(applied) = &updated {
            f.agrees(applied).await;
        }
        f.done(&adding(&user, "devs")).await;
        f.already(&adding(&user, "devs")).await;
        let back = f.return_of(&user).await;
        f.agrees(&f.done(&deactivating(&user)).await).await;
        f.agrees(&f.done(&back).await).await;
        f.done(&removing(&user, "devs")).await;
        let there = f.there(name).await;
        let expected = updated.map_or(user.display_name.clone(), |_| display_name);
        assert_eq!(
            (there.display_name, there.groups),
            (expected, Vec::new()),
            "{name}"
        );
        f.done(&deletion(&user)).await;
    }
}

async fn odd_group_names(f: &Fixture) {
    let user = f.seeded(ada()).await;
    for name in ODD_NAMES {
        f.done(&group(name)).await;
        f.already(&group(name)).await;
        assert_eq!(f.target.group_exists(name).await, Ok(Some(name.into())));
        if !f.takes(name) {
            f.cannot(&adding(&user, name)).await;
            f.already(&removing(&user, name)).await;
            continue;
        }
        f.done(&adding(&user, name)).await;
        f.already(&adding(&user, name)).await;
        assert_eq!(f.there("ada").await.groups, [name]);
        f.done(&removing(&user, name)).await;
        f.already(&removing(&user, name)).await;
    }
}

fn is(trouble: Trouble, failure: &Failure) {
    match (trouble, failure) {
        (Trouble::Throttled(asked), Failure::Throttled { after, .. }) => {
            assert_eq!(*after, asked.map(|s| Duration::from_secs(s.into())));
        }
        (Trouble::Throttled(_), other) => panic!("{trouble:?}: {other:?}"),
        (_, Failure::Transient { text }) => assert!(!text.is_empty()),
        (_, other) => panic!("{trouble:?}: {other:?}"),
    }
}

/// Nothing is done, the failure says what it was, and doing it again works.
async fn troubles_with_writes(f: &Fixture) {
    for (i, trouble) in TROUBLES.into_iter().enumerate() {
        let name = format!("ada{i}");
        let user = Observed {
            username: name.clone(),
            ..ada()
        };
        f.backstage.trouble(trouble, Strikes::NextWrite).await;
        is(trouble, &f.refused(&create_user(&user)).await);
        assert_eq!(f.backstage.user(&name).await, None);
        let user = f.done(&create_user(&user)).await.account.unwrap();

        let mut back = reactivation(&user);
        let (devs, king) = (format!("devs{i}"), updating(&user, Some("Ada King"), None));
        for action in [
            group(&devs),
            adding(&user, &devs),
            king,
            deactivating(&user),
            reactivation(&user),
            removing(&user, &devs),
            renaming(&user, &format!("augusta{i}")),
            deletion(&user),
        ] {
            let able = match &action {
                Action::RenameUser { .. } => f.can().rename,
                Action::UpdateUser { .. } => f.can().update,
                _ => true,
            };
            if !able {
                f.cannot(&action).await;
                continue;
            }
            let action = match action {
                Action::Deactivate { .. } => {
                    back = f.return_of(&user).await;
                    action
                }
                Action::Reactivate { .. } => back.clone(),
                other => other,
            };
            let (before, groups) = (f.backstage.user(&name).await, f.backstage.groups().await);
            f.backstage.trouble(trouble, Strikes::NextWrite).await;
            is(trouble, &f.refused(&action).await);
            assert_eq!(
                f.backstage.user(&name).await,
                before,
                "{trouble:?}, {action:?}"
            );
            assert_eq!(
                f.backstage.groups().await,
                groups,
                "{trouble:?}, {action:?}"
            );
            f.done(&action).await;
        }
    }
}

/// A read that fails is a failure, and never "not there".
async fn troubles_with_reads(f: &Fixture) {
    let user = f
        .seeded(Observed {
            groups: vec!["devs".into()],
            ..ada()
        })
        .await;
    for trouble in TROUBLES {
        for lookup in [
            Lookup::Username("ada"),
            Lookup::RemoteId(&user.remote_id),
            Lookup::Email("ada@example.com"),
        ] {
            if matches!(lookup, Lookup::Email(_)) && !f.finds_emails() {
                assert_eq!(f.target.observe(lookup).await, Ok(None));
                continue;
            }
            f.backstage.trouble(trouble, Strikes::NextRead).await;
            is(trouble, &f.target.observe(lookup).await.unwrap_err());
            assert_eq!(
                f.target.observe(lookup).await.unwrap().as_ref(),
                Some(&user)
            );
        }
        f.backstage.trouble(trouble, Strikes::NextRead).await;
        is(trouble, &f.target.group_exists("devs").await.unwrap_err());
        assert_eq!(f.target.group_exists("devs").await, Ok(Some("devs".into())));
    }
}

async fn no_answer_at_all(f: &Fixture) {
    f.backstage.trouble(Trouble::Hang, Strikes::NextWrite).await;
    is(Trouble::Hang, &f.refused(&create_user(&ada())).await);
    assert_eq!(f.backstage.user("ada").await, None);
    f.backstage.trouble(Trouble::Hang, Strikes::NextRead).await;
    is(
        Trouble::Hang,
        &f.target.observe(Lookup::Username("ada")).await.unwrap_err(),
    );
    f.done(&create_user(&ada())).await;
}

async fn lost_reply_to_a_create(f: &Fixture) {
    let applied = f.lost_reply(&create_user(&ada())).await;
    assert!(applied.already);
    f.agrees(&applied).await;
}

async fn lost_reply_to_an_update(f: &Fixture) {
    let user = f.seeded(ada()).await;
    if !f.can().update {
        f.cannot(&updating(&user, Some("Ada King"), None)).await;
        return;
    }
    let applied = f.lost_reply(&updating(&user, Some("Ada King"), None)).await;
    f.agrees(&applied).await;
    assert_eq!(applied.account.unwrap().display_name, "Ada King");
}

async fn lost_reply_to_a_rename(f: &Fixture) {
    let user = f.seeded(ada()).await;
    if !f.can().rename {
        f.cannot(&renaming(&user, "augusta")).await;
        return;
    }
    let applied = f.lost_reply(&renaming(&user, "augusta")).await;
    f.agrees(&applied).await;
    assert_eq!(applied.account.unwrap().username, "augusta");
}

async fn lost_reply_to_a_deactivation(f: &Fixture) {
    let user = f.seeded(ada()).await;
    let applied = f.lost_reply(&deactivating(&user)).await;
    assert!(applied.already);
    f.agrees(&applied).await;
    assert!(!applied.account.unwrap().active);
}

async fn lost_reply_to_a_reactivation(f: &Fixture) {
    let (_, back) = f.inactive().await;
    let applied = f.lost_reply(&back).await;
    assert!(applied.already && applied.account.unwrap().active);
}

async fn lost_reply_to_a_deletion(f: &Fixture) {
    let user = f.seeded(ada()).await;
    let already = f.lost_reply(&deletion(&user)).await.already;
    assert!(already || f.backstage.deletes_later());
    assert_eq!(f.backstage.user("ada").await, None);
    f.already(&deletion(&user)).await;
}

async fn lost_reply_to_a_group(f: &Fixture) {
    assert!(f.lost_reply(&group("devs")).await.already);
}

async fn lost_reply_to_a_membership(f: &Fixture) {
    let user = f.seeded(ada()).await;
    f.backstage.seed_group("devs").await;
    assert!(f.lost_reply(&adding(&user, "devs")).await.already);
    assert_eq!(f.there("ada").await.groups, ["devs"]);
}

async fn lost_reply_to_a_removal(f: &Fixture) {
    let user = f
        .seeded(Observed {
            groups: vec!["devs".into()],
            ..ada()
        })
        .await;
    assert!(f.lost_reply(&removing(&user, "devs")).await.already);
    assert!(f.there("ada").await.groups.is_empty());
}

/// The product's words for refusing a record.
pub(crate) fn rejected(failure: Failure) -> String {
    match failure {
        Failure::Rejected { text, .. } => text,
        other => panic!("{other:?}"),
    }
}

/// As the member of a group.
pub(crate) fn member(user: &Observed) -> Member {
    Member {
        remote_id: user.remote_id.clone(),
        username: user.username.clone(),
    }
}

fn is_unauthorized(failure: &Failure) {
    let is = matches!(failure, Failure::Unauthorized { .. });
    assert!(is, "{failure:?}");
}

/// Nothing is taken for absent, nothing is done, and nothing of it sticks.
async fn wrong_credentials(f: &Fixture) {
    let user = f.seeded(ada()).await;
    f.backstage.seed_group("devs").await;
    if !f.backstage.refuse_credential(true).await {
        return;
    }
    let bob = called("bob");
    for action in [
        create_user(&bob),
        adding(&user, "devs"),
        removing(&user, "devs"),
        deactivating(&user),
        deletion(&user),
        group("more"),
    ] {
        let failure = f.refused(&action).await;
        is_unauthorized(&failure);
        let text = failure.to_string();
        assert!(
            !text.contains("emulated-") && !text.contains("-password"),
            "{text}"
        );
    }
    is_unauthorized(&f.target.observe(Lookup::Username("ada")).await.unwrap_err());
    is_unauthorized(&f.target.observe(Lookup::Username("bob")).await.unwrap_err());
    is_unauthorized(&f.target.group_exists("devs").await.unwrap_err());
    is_unauthorized(&f.target.users(None).await.unwrap_err());
    is_unauthorized(&f.target.members("devs", None).await.unwrap_err());
    is_unauthorized(&f.target.check().await.unwrap_err());
    assert!(f.backstage.user("ada").await.unwrap().active);
    f.backstage.refuse_credential(false).await;
    f.target.protected().await.unwrap();
    f.done(&deactivating(&user)).await;
}

/// That concerns everybody, so it stops the target and is not tried for each.
async fn missing_permission(f: &Fixture) {
    let user = f.seeded(ada()).await;
    f.backstage.seed_group("devs").await;
    if !f.backstage.take_rights().await {
        return;
    }
    for action in [
        create_user(&called("bob")),
        adding(&user, "devs"),
        deactivating(&user),
        group("more"),
    ] {
        is_unauthorized(&f.refused(&action).await);
    }
    let before = Observed {
        remote_id: user.remote_id.clone(),
        ..ada()
    };
    assert_eq!(without_groups(f.there("ada").await), f.as_told(before));
    assert_eq!(f.backstage.user("bob").await, None);
    // Whoever tries it out is told.
    if let Ok(check) = f.target.check().await {
        assert!(!check.warnings.is_empty(), "{check:?}");
    }
}

/// That concerns the account alone: it is said, not tried for ever, and no other is stopped.
async fn read_only_directory(f: &Fixture) {
    let user = f.seeded(ada()).await;
    f.backstage.seed_group("devs").await;
    if !f.backstage.set_read_only("ada").await {
        return;
    }
    let before = f.there("ada").await;
    let mut actions = Vec::new();
    if f.can().update {
        actions.push(updating(&user, Some("Ada King"), None));
    }
    // A licence of its own is the product's to take, whatever directory an account is in.
    if !f.can().takes_memberships {
        actions.push(deactivating(&user));
    }
    for action in actions {
        is_rejected(&f.refused(&action).await);
        assert_eq!(f.there("ada").await, before);
    }
    let bob = f.seeded(called("bob")).await;
    f.done(&adding(&bob, "devs")).await;
}

async fn tried_out(f: &Fixture) {
    let check = f.target.check().await.unwrap();
    assert_eq!(check.product, f.target.capabilities().product);
    let less = f.can() != *f.target.capabilities();
    assert_eq!(!check.warnings.is_empty(), less, "{:?}", check.warnings);
    f.target.protected().await.unwrap();
}

async fn pages<T>(read: impl AsyncFn(Option<&str>) -> Result<Page<T>, Failure>) -> Vec<T> {
    let (mut all, mut cursor) = (Vec::new(), None);
    loop {
        let page = read(cursor.as_deref()).await.unwrap();
        all.extend(page.items);
        cursor = page.next;
        if cursor.is_none() {
            return all;
        }
        assert!(all.len() < 5000, "the list has no end");
    }
}

async fn crowd_of(f: &Fixture, groups: &[&str]) {
    for i in 0..f.backstage.many() {
        let user = Observed {
            username: format!("person{i}"),
            display_name: format!("Person {i}"),
            email: Some(format!("person{i}@example.com")),
            active: i % 3 > 0,
            groups: groups.iter().map(|&group| group.to_owned()).collect(),
            ..ada()
        };
        f.backstage.seed_user(user).await;
    }
}

/// How often each name is there, in any case.
fn counted(names: impl Iterator<Item = String>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for name in names {
        *counts.entry(name.to_lowercase()).or_default() += 1;
    }
    counts
}

async fn lists_everybody(f: &Fixture) {
    crowd_of(f, &[]).await;
    let all = pages(async |cursor| f.target.users(cursor).await).await;
    let counts = counted(all.iter().map(|user| user.username.clone()));
    for i in 0..f.backstage.many() {
        assert_eq!(counts.get(&format!("person{i}")), Some(&1), "person{i}");
    }
    for user in all
        .iter()
        .filter(|user| user.username.starts_with("person"))
        .take(5)
    {
        let there = f.there(&user.username).await;
        assert_eq!(
            *user,
            Observed {
                groups: Vec::new(),
                ..there
            }
        );
    }
}

async fn lists_all_groups(f: &Fixture) {
    for i in 0..f.backstage.many() {
        f.backstage.seed_group(&format!("team{i}")).await;
    }
    if f.backstage.hides_groups() {
        is_rejected(&f.target.groups(None).await.unwrap_err());
        return;
    }
    let all = pages(async |cursor| f.target.groups(cursor).await).await;
    let there = f.backstage.groups().await;
    assert_eq!(counted(all.into_iter()), counted(there.into_iter()));
}

async fn lists_all_members(f: &Fixture) {
    crowd_of(f, &["devs"]).await;
    f.seeded(ada()).await;
    let all = pages(async |cursor| f.target.members("DEVS", cursor).await).await;
    let counts = counted(all.iter().map(|member| member.username.clone()));
    assert_eq!(counts.len(), f.backstage.many());
    assert!(
        counts
            .iter()
            .all(|(name, n)| name.starts_with("person") && *n == 1)
    );
    for member in all
        .iter()
        .take(3)
        .filter(|member| !member.remote_id.is_empty())
    {
        let there = f.there(&member.username).await;
        assert_eq!(there.remote_id, member.remote_id);
    }
}

async fn lists_no_members_of_no_group(f: &Fixture) {
    is_gone(&f.target.members("nowhere", None).await.unwrap_err());
    f.backstage.seed_group("empty").await;
    let page = f.target.members("empty", None).await.unwrap();
    assert_eq!((page.items, page.next), (Vec::new(), None));
}
