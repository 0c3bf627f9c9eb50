//! `/group`: groups and their attributes.

use serde_json::Value;

use crate::crowd::entities::{attributes_in, text};
use crate::crowd::routes::{Call, Outcome};
use crate::crowd::state::fold;
use crate::server::Answer;

pub(crate) fn get(call: &mut Call<'_>) -> Outcome {
    let name = call.required("groupname")?;
    let group = call.group(&name)?;
    call.reply(200, &call.build.group(group, call.expands("attributes")))
}

pub(crate) fn create(call: &mut Call<'_>) -> Outcome {
    let body = call.body()?;
    let name = call.named(&body)?;
    call.may_write(None)?;
    let (description, active) = said(&body);
    if !call.state.create_group(&name, &description, active) {
        let message = format!("Group already exists in directory with name [{name}]");
        return Err(call.refuse(400, "INVALID_GROUP", &message));
    }
    *call.state.group_creations.entry(fold(&name)).or_default() += 1;
    Ok(Answer::empty(201))
}

pub(crate) fn update(call: &mut Call<'_>) -> Outcome {
    let name = call.required("groupname")?;
    let body = call.body()?;
    if fold(&text(&body, "name").unwrap_or_default()) != fold(&name) {
        let message = "The names of the resource location and object are not equal";
        return Err(call.refuse(400, "INVALID_GROUP", message));
    }
    call.group(&name)?;
    call.may_write(None)?;
    let (description, active) = said(&body);
    if let Some(group) = call.state.groups.get_mut(&fold(&name)) {
        (group.description, group.active) = (description, active);
        call.state.tell(format!("group {name} changed"));
    }
    call.reply(200, &call.build.group(call.group(&name)?, false))
}

/// Description, and whether it is active.
fn said(body: &Value) -> (String, bool) {
    let description = text(body, "description").unwrap_or_default().into_owned();
    let active = text(body, "active").is_none_or(|it| it.eq_ignore_ascii_case("true"));
    (description, active)
}

pub(crate) fn delete(call: &mut Call<'_>) -> Outcome {
    let name = call.required("groupname")?;
    call.group(&name)?;
    call.may_write(None)?;
    call.state.delete_group(&name);
    Ok(Answer::empty(204))
}

pub(crate) fn attributes(call: &mut Call<'_>) -> Outcome {
    let name = call.required("groupname")?;
    call.reply(200, &call.build.attributes_of_group(call.group(&name)?))
}

pub(crate) fn store_attributes(call: &mut Call<'_>) -> Outcome {
    let name = call.required("groupname")?;
    let body = call.body()?;
    call.group(&name)?;
    call.may_write(None)?;
    if let Some(group) = call.state.groups.get_mut(&fold(&name)) {
        group.attributes.extend(attributes_in(&body));
        call.state.tell(format!("group {name}: attributes changed"));
    }
    Ok(Answer::empty(204))
}

pub(crate) fn drop_attribute(call: &mut Call<'_>) -> Outcome {
    let (name, attribute) = (call.required("groupname")?, call.required("attributename")?);
    call.group(&name)?;
    call.may_write(None)?;
    if let Some(group) = call.state.groups.get_mut(&fold(&name))
        && group.attributes.remove(&attribute).is_some()
    {
        call.state.tell(format!("group {name}: attributes changed"));
    }
    Ok(Answer::empty(204))
}
