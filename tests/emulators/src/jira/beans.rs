//! How the emulated Jira writes things down: users, groups, projects, pages, errors.

use serde_json::{Map, Value, json};

use crate::jira::state::{APPLICATION, Component, Group, Project, State, User, fold};
use crate::server::Answer;

/// Renders with links that start at `base` (`http://host:port/context`).
pub(crate) struct Beans<'a> {
    pub(crate) base: &'a str,
    pub(crate) state: &'a State,
}

impl Beans<'_> {
    pub(crate) fn rest(&self, path: &str) -> String {
        format!("{}/rest/api/2/{path}", self.base)
    }

    pub(crate) fn user_link(&self, user: &User) -> String {
        self.rest(&format!("user?username={}", encode(&user.name)))
    }

    pub(crate) fn group_link(&self, group: &Group) -> String {
        self.rest(&format!("group?groupname={}", encode(&group.name)))
    }

    /// As in lists: without groups and roles.
    pub(crate) fn short_user(&self, user: &User) -> Map<String, Value> {
        let mut bean = self.reference(user);
        bean.insert("emailAddress".into(), json!(user.email));
        bean.insert("timeZone".into(), json!("Etc/UTC"));
        bean
    }

    /// As the lead of something.
    pub(crate) fn reference(&self, user: &User) -> Map<String, Value> {
        let avatar = |size: &str| {
            format!(
                "{}/secure/useravatar?size={size}&ownerId={}",
                self.base,
                encode(&user.key)
            )
        };
        let mut bean = Map::new();
        bean.insert("self".into(), json!(self.user_link(user)));
        bean.insert("key".into(), json!(user.key));
        bean.insert("name".into(), json!(user.name));
        bean.insert(
            "avatarUrls".into(),
            json!({ "48x48": avatar("large"), "16x16": avatar("xsmall") }),
        );
        bean.insert("displayName".into(), json!(user.display_name));
        bean.insert("active".into(), json!(user.active));
        bean
    }

    /// As one person: groups and roles are counted always, and listed when asked for.
    pub(crate) fn user(&self, user: &User, expand: &str) -> Value {
        let wanted = |part: &str| expand.split(',').any(|it| it.trim() == part);
        let mut bean = self.short_user(user);
        bean.insert("locale".into(), json!("en_US"));
        let mut groups = json!({ "size": user.groups.len(), "items": [] });
        if wanted("groups") {
            let known = user
                .groups
                .iter()
                .filter_map(|name| self.state.groups.get(name));
            groups["items"] = known
                .map(|group| json!({ "name": group.name, "self": self.group_link(group) }))
                .collect();
        }
        bean.insert("groups".into(), groups);
        let has_application = self.state.has_application(user);
        let mut roles = json!({ "size": usize::from(has_application), "items": [] });
        if wanted("applicationRoles") && has_application {
            roles["items"] = json!([{ "key": APPLICATION, "name": "Jira Software" }]);
        }
        bean.insert("applicationRoles".into(), roles);
        bean.insert("deleted".into(), json!(false));
        bean.insert("expand".into(), json!("groups,applicationRoles"));
        Value::Object(bean)
    }

    /// A group; `users` is the range asked for, both ends included.
    pub(crate) fn group(
        &self,
        group: &Group,
        users: Option<(usize, usize)>,
        inactive_too: bool,
    ) -> Value {
        let (start, count) = match users {
            Some((start, end)) => (start, (end + 1).saturating_sub(start).min(50)),
            None => (0, 0),
        };
        let (page, size) = self.state.member_page(group, inactive_too, start, count);
        let items: Vec<_> = page.iter().map(|user| self.short_user(user)).collect();
        let end = (start + items.len()).saturating_sub(1);
        json!({
            "name": group.name,
            "self": self.group_link(group),
            "users": {
                "size": size,
                "items": items,
                "max-results": 50,
                "start-index": start,
                "end-index": end
            },
            "expand": "users"
        })
    }

    pub(crate) fn project(&self, project: &Project, lead: bool, full: bool) -> Value {
        let mut bean = json!({
            "expand": "description,lead,url,projectKeys",
            "self": self.rest(&format!("project/{}", project.id)),
            "id": project.id.to_string(),
            "key": project.key,
            "name": project.name,
            "projectTypeKey": "software",
            "archived": project.archived,
        });
        if full {
            bean["description"] = json!(project.description);
            bean["assigneeType"] = json!(project.assignee_type);
            bean["issueTypes"] = json!([]);
            bean["versions"] = json!([]);
            bean["roles"] = json!({});
            bean["components"] = self.components_of(project.id);
        }
        if lead && let Some(user) = self.state.users.get(&project.lead) {
            bean["lead"] = Value::Object(self.reference(user));
        }
        bean
    }

    pub(crate) fn components_of(&self, project: u64) -> Value {
        let of_it = self
            .state
            .components
            .values()
            .filter(|it| it.project == project);
        of_it.map(|component| self.component(component)).collect()
    }

    pub(crate) fn component(&self, component: &Component) -> Value {
        let project = self.state.projects.get(&component.project);
        let lead = component.lead.and_then(|id| self.state.users.get(&id));
        let mut bean = json!({
            "self": self.rest(&format!("component/{}", component.id)),
            "id": component.id.to_string(),
            "name": component.name,
            "assigneeType": component.assignee_type,
            "realAssigneeType": component.assignee_type,
            "isAssigneeTypeValid": true,
            "project": project.map(|project| project.key.as_str()),
            "projectId": component.project,
            "archived": false,
            "deleted": false,
        });
        if let Some(description) = &component.description {
            bean["description"] = json!(description);
        }
        if let Some(lead) = lead {
            bean["lead"] = Value::Object(self.reference(lead));
        }
        bean
    }

    pub(crate) fn application_role(&self) -> Value {
        let group = self.state.default_group.as_deref();
        let known: Vec<&str> = group
            .into_iter()
            .filter(|it| self.state.group(it).is_some())
            .collect();
        let users = self.state.users.values();
        let used = users
            .filter(|user| user.active && self.state.has_application(user))
            .count();
        json!({
            "key": APPLICATION,
            "groups": known,
            "name": "Jira Software",
            "defaultGroups": known,
            "selectedByDefault": true,
            "defined": true,
            "numberOfSeats": -1,
            "remainingSeats": -1,
            "userCount": used,
            "userCountDescription": "users",
            "hasUnlimitedSeats": true,
            "platform": false
        })
    }
}

/// Jira's error body with messages that belong to no field.
pub(crate) fn refused(status: u16, message: &str) -> Answer {
    Answer::json(status, &json!({ "errorMessages": [message], "errors": {} }))
}

/// Jira's error body with messages by field.
pub(crate) fn invalid(errors: &Map<String, Value>) -> Answer {
    Answer::json(400, &json!({ "errorMessages": [], "errors": errors }))
}

/// [`invalid`] for one field.
pub(crate) fn invalid_field(field: &str, message: &str) -> Answer {
    invalid(&Map::from_iter([(field.to_owned(), json!(message))]))
}

/// Percent-encodes all but unreserved characters.
pub(crate) fn encode(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
        encoded
    })
}

/// Whether one of a person's names starts with what was typed; `.` finds everyone.
pub(crate) fn found_by(user: &User, typed: &str) -> bool {
    let typed = fold(typed.trim());
    typed == "."
        || fold(&user.name).starts_with(&typed)
        || fold(&user.email).starts_with(&typed)
        || fold(&user.display_name).starts_with(&typed)
        || fold(&user.display_name)
            .split_whitespace()
            .any(|word| word.starts_with(&typed))
}
