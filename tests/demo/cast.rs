//! Who is in the emulated IDCS domain, and what the products must therefore show.

use std::collections::BTreeSet;

use usher_emulators::idcs::Person;
use usher_emulators::jira::Jira;

use crate::screen::JIRA;

const PEOPLE: [(&str, &str); 36] = [
    ("Ada", "Byron"),
    ("Alan", "Marsh"),
    ("Bella", "Stone"),
    ("Boris", "Lind"),
    ("Carla", "Weiß"),
    ("Cyrus", "Dane"),
    ("Dana", "Frost"),
    ("Denis", "Hale"),
    ("Edith", "Moss"),
    ("Emil", "Roth"),
    ("Felix", "Gray"),
    ("Flora", "Penn"),
    ("Gina", "Holt"),
    ("Gus", "Ward"),
    ("Hana", "Sato"),
    ("Hugo", "Brandt"),
    ("Ines", "Vidal"),
    ("Ivan", "Petrov"),
    ("Jana", "Nováková"),
    ("Jonas", "Berg"),
    ("Karl", "Funk"),
    ("Kira", "Olsen"),
    ("Lena", "Maier"),
    ("Luis", "Ortega"),
    ("Mara", "Quinn"),
    ("Milo", "Rossi"),
    ("Nils", "Holm"),
    ("Nora", "Kelly"),
    ("Olga", "Baran"),
    ("Omar", "Aziz"),
    ("Paul", "Nguyen"),
    ("Petra", "Vogel"),
    ("Remy", "Blanc"),
    ("Rosa", "Lima"),
    ("Selma", "Dahlström"),
    ("Admin", "Example"),
];

const NEWCOMERS: [(&str, &str); 12] = [
    ("Tara", "Singh"),
    ("Tess", "Arden"),
    ("Theo", "Kraus"),
    ("Tilda", "Ek"),
    ("Udo", "Lang"),
    ("Una", "Byrne"),
    ("Vera", "Sokol"),
    ("Viktor", "Nagy"),
    ("Wanda", "Zielińska"),
    ("Willem", "Smit"),
    ("Yara", "Haddad"),
    ("Zeno", "Conti"),
];

/// Those whose names in Jira belong to accounts that are not Usher's to change.
const HANDS_OFF: [&str; 2] = ["Gina", "Admin"];

/// How somebody stands in IDCS, seen from Usher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Nothing was pushed yet, or not enough for an account.
    Outside,
    /// Assigned to the app.
    Assigned,
    /// The account of that name in Jira is not Usher's to change, whatever is pushed.
    HandsOff,
    /// Was assigned once.
    Revoked,
}

/// Somebody in IDCS.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) person: Person,
    pub(crate) standing: Standing,
    /// SCIM id, once Usher gave one.
    pub(crate) id: String,
    /// Jira's stable key, once it was seen.
    pub(crate) key: Option<String>,
    /// Indices of the groups.
    pub(crate) groups: BTreeSet<usize>,
    /// The name of the account before any renaming.
    pub(crate) first_login: String,
}

/// In which ways products differ.
#[derive(Clone, Copy)]
pub(crate) struct Ways {
    pub(crate) product: &'static str,
    /// Where it puts new accounts by itself.
    pub(crate) default_group: &'static str,
    /// Whether whoever may not sign in any more is still in their groups.
    pub(crate) leavers_keep_groups: bool,
}

/// An account as a product shows it.
pub(crate) struct Seen {
    /// The stable key, where it is compared.
    pub(crate) key: Option<String>,
    pub(crate) display_name: String,
    pub(crate) email: String,
    pub(crate) active: bool,
    pub(crate) groups: Vec<String>,
}

/// A group in IDCS.
#[derive(Debug, Clone)]
pub(crate) struct Team {
    /// Its name in IDCS.
    pub(crate) name: String,
    /// The group in Jira that it stands for: its first name.
    pub(crate) in_jira: &'static str,
    pub(crate) id: String,
}

/// Everybody and every group.
pub(crate) struct Cast {
    pub(crate) members: Vec<Member>,
    pub(crate) teams: Vec<Team>,
}

impl Member {
    pub(crate) fn new((given, family): (&str, &str), groups: BTreeSet<usize>) -> Self {
        let login = format!("{}@example.com", given.to_lowercase());
        Self {
            person: Person::new(&login, given, family),
            standing: if HANDS_OFF.contains(&given) {
                Standing::HandsOff
            } else {
                Standing::Outside
            },
            id: String::new(),
            key: None,
            groups,
            first_login: given.to_lowercase(),
        }
    }

    /// The name of the account in Jira, as the mapping makes it: `userName | before("@") | lower`.
    pub(crate) fn login(&self) -> String {
        let name = &self.person.user_name;
        let login = name
            .split_once('@')
            .map_or(name.as_str(), |(login, _)| login);
        login.to_lowercase()
    }

    /// "Ada Byron"
    pub(crate) fn name(&self) -> &str {
        &self.person.display_name
    }
}

impl Cast {
    /// 36 people, 5 groups and 12 who come later.
    pub(crate) fn new() -> Self {
        let teams = ["engineering", "research", "operations", "support", "leads"];
        let member = |(index, name): (usize, &(&str, &str))| {
            let mut groups = BTreeSet::from([index % 4]);
            if index % 6 == 2 {
                groups.insert(4);
            }
            Member::new(*name, groups)
        };
        let later = |name: &(&str, &str)| Member::new(*name, BTreeSet::new());
        let here = PEOPLE.iter().enumerate().map(member);
        Self {
            members: here.chain(NEWCOMERS.iter().map(later)).collect(),
            teams: teams
                .iter()
                .map(|name| Team {
                    name: (*name).to_owned(),
                    in_jira: name,
                    id: String::new(),
                })
                .collect(),
        }
    }

    /// Index of somebody by given name.
    pub(crate) fn find(&self, given: &str) -> anyhow::Result<usize> {
        self.members
            .iter()
            .position(|member| member.person.given_name == given)
            .ok_or_else(|| anyhow::anyhow!("nobody is called {given}"))
    }

    /// How many people there are before the newcomers.
    pub(crate) fn first_wave(&self) -> usize {
        PEOPLE.len()
    }

    /// SCIM ids of the members of a group.
    pub(crate) fn ids_in(&self, team: usize) -> Vec<String> {
        self.members
            .iter()
            .filter(|it| it.groups.contains(&team) && !it.id.is_empty())
            .filter(|it| it.standing != Standing::Revoked)
            .map(|it| it.id.clone())
            .collect()
    }

    /// Takes down Jira's keys of everybody who has an account.
    pub(crate) fn note_keys(&mut self, jira: &Jira) {
        for member in &mut self.members {
            if member.standing == Standing::Assigned && member.key.is_none() {
                member.key = jira.user(&member.login()).map(|user| user.key);
            }
        }
    }

    /// Everything in which Jira is not as IDCS wants it. Empty: converged.
    pub(crate) fn differences(&self, jira: &Jira) -> Vec<String> {
        let find = |member: &Member| {
            jira.user(&member.login()).map(|user| Seen {
                key: Some(user.key),
                display_name: user.display_name,
                email: user.email,
                active: user.active,
                groups: user.groups,
            })
        };
        let ways = Ways {
            product: JIRA,
            default_group: "jira-software-users",
            leavers_keep_groups: true,
        };
        self.differences_at(ways, find)
    }

    /// The same of any product.
    pub(crate) fn differences_at(
        &self,
        ways: Ways,
        find: impl Fn(&Member) -> Option<Seen>,
    ) -> Vec<String> {
        let mut differences = Vec::new();
        for member in &self.members {
            self.compare(member, find(member), ways, &mut differences);
        }
        differences
            .into_iter()
            .map(|difference| format!("{}: {difference}", ways.product))
            .collect()
    }

    fn compare(
        &self,
        member: &Member,
        user: Option<Seen>,
        ways: Ways,
        differences: &mut Vec<String>,
    ) {
        let login = member.login();
        let active = match member.standing {
            Standing::Assigned => member.person.active,
            Standing::Revoked => false,
            // Whether such an account changed is compared with what was there before.
            Standing::HandsOff => return,
            Standing::Outside => {
                if user.is_some() {
                    differences.push(format!("{login} has an account too early"));
                }
                return;
            }
        };
        let Some(user) = user else {
            differences.push(format!("{login} has no account"));
            return;
        };
        let mut differ = |what: &str, is: &str, wanted: &str| {
            if is != wanted {
                differences.push(format!("{login}: {what} is {is:?}, not {wanted:?}"));
            }
        };
        differ("display name", &user.display_name, member.name());
        differ("e-mail", &user.email, &member.person.email);
        differ("active", &user.active.to_string(), &active.to_string());
        if let (Some(key), Some(is)) = (&member.key, &user.key) {
            differ("key", is, key);
        }
        let teams = member.groups.iter().filter_map(|it| self.teams.get(*it));
        let pushed = teams.filter(|team| !team.id.is_empty());
        let wanted: BTreeSet<&str> = pushed
            .filter(|_| active || ways.leavers_keep_groups)
            .map(|team| team.in_jira)
            .collect();
        let is = user.groups.iter().map(String::as_str);
        let is: BTreeSet<&str> = is
            .filter(|it| *it != ways.default_group || !active && !ways.leavers_keep_groups)
            .collect();
        differ("groups", &format!("{is:?}"), &format!("{wanted:?}"));
    }
}
