//! The story: what an administrator does, what IDCS pushes, what happens in Jira, and whether it is what Usher
//! promises. Nothing is taken for granted because time has passed: each step waits until its effect is seen.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use usher_emulators::idcs::{
    AddForm, Change, CreateForm, DeactivateForm, IdcsPush, Pushed, RemoveForm, UpdateForm,
};
use usher_emulators::idcs_domain::DomainOptions;
use usher_emulators::jira::Jira;

use crate::cast::{Cast, Member, Standing};
use crate::screen::shown;
use crate::stage::{Stage, quoted, write_private};

const ENGINEERING: usize = 0;
const RESEARCH: usize = 1;
const OPERATIONS: usize = 2;
const SUPPORT: usize = 3;
const LEADS: usize = 4;

/// Tells all of it.
pub(crate) async fn tell(stage: &mut Stage) -> anyhow::Result<()> {
    let started = Instant::now();
    prologue(stage).await?;
    joiners(stage).await?;
    marriage(stage).await?;
    moves(stage).await?;
    leaver(stage).await?;
    revoked(stage).await?;
    outage(stage).await?;
    crash(stage).await?;
    comeback(stage).await?;
    repetition(stage).await?;
    missed(stage).await?;
    finale(stage, started.elapsed()).await
}

async fn prologue(stage: &mut Stage) -> anyhow::Result<()> {
    let screen = stage.screen.clone();
    screen.chapter("Usher between an IDCS domain and Jira, Confluence, Bitbucket, Crowd and Guard");
    screen.say(
        "IDCS pushes people and groups to Usher over SCIM 2.0, Usher keeps all products in step at once: four of \
         Data Center and, through Atlassian Guard, those of the Cloud. Both ends are emulated here; Usher is the \
         real program, in a process of its own.",
    );
    screen.line("");
    for line in [
        "    IDCS →        a request that IDCS sent to Usher, and how Usher answered",
        "    Jira ←        a change that Usher made in Jira, and how long after the push was sent",
        "    ‹ada›         stands for Ada's SCIM id",
    ] {
        screen.line(line);
    }
    screen.pause(1500).await;

    // What an administrator finds: a Jira with people in it.
    let jira = &stage.jira;
    jira.seed_user("pm", "Pat Moreau", "pm@example.com");
    jira.seed_user("svc-build", "Build service", "build@example.com");
    jira.seed_user("gina", "Gina, contractor", "gina@contractors.example");
    stage.others = jira.users();

    screen.line("");
    screen.say(&format!(
        "Jira has {} accounts that are none of Usher's business: admin, pm, svc-build and gina.",
        stage.others.len()
    ));
    let file = stage.usher.file("usher.toml");
    let token_file = stage.usher.file("jira-token");
    write_private(&token_file, &stage.jira_token)?;
    let secret_file = stage.usher.file("client-secret");
    write_private(&secret_file, &DomainOptions::default().client_secret)?;
    let domain = (stage.domain.url(), secret_file.display().to_string());
    let mut configuration = configuration(
        (&domain.0, &domain.1),
        (&stage.jira.url(), &token_file.display().to_string()),
    );
    configuration.push_str(&stage.beside.configuration(&stage.usher)?);
    write_private(&file, &configuration)?;
    let path = file.display().to_string();
    let applied = stage.usher.run(&["apply", &path])?;
    screen.command(&format!("usher apply {path}"), &applied);
    let checked = stage.usher.run(&["check"])?;
    screen.command("usher check", &checked);
    let token = stage.usher.run(&["token", "create", "corp"])?;
    screen.command("usher token create corp", &token);
    let took = stage.usher.serve().await?;
    stage.connect(&token);
    screen.command(
        "usher serve",
        &format!("ready after {} at {}", shown(took), stage.usher.scim()),
    );
    screen.pause(1000).await;
    Ok(())
}

fn configuration((domain, secret_file): (&str, &str), (jira, token_file): (&str, &str)) -> String {
    // As TOML strings: a folder may have a quote or a backslash in its name.
    let (domain, secret_file) = (json!(domain), json!(secret_file));
    let (jira, token_file) = (json!(jira), json!(token_file));
    format!(
        r#"[[connection]]
name = "corp"
kind = "oracle-idcs"
# For what no push brings.
base_url = {domain}
client_id = "usher-client"
client_secret = {{ file = {secret_file} }}
# Whoever signs in waits for an account no longer than this; 2 s without it, which may be little where five products
# run on one slow machine.
login_deadline = "10s"

[[target]]
name = "jira"
kind = "jira-dc"
base_url = {jira}
token = {{ file = {token_file} }}
# After an answer that never came, Usher looks again when the request cannot be under way any more: twice this.
timeout = "2s"

[[mapping]]
connection = "corp"
target = "jira"
mode = "live"

[mapping.users]
username = 'userName | before("@") | lower'
protect = ["admin"]
default_project_lead = "pm"
default_component_lead = "pm"

[mapping.groups]
on_the_fly = true
create_missing = true
"#
    )
}

async fn joiners(stage: &mut Stage) -> anyhow::Result<()> {
    let screen = stage.screen.clone();
    screen.chapter("1  Joiners: 36 people, 5 groups");
    for given in ["Ada", "Alan"] {
        let who = stage.cast.find(given)?;
        join(stage, who, CreateForm::Full).await?;
        stage.converged(&format!("{given} in Jira")).await?;
        if given == "Ada" {
            screen.say(
                "Bitbucket takes the password of a new account in an address, which web servers write down: so \
                 Usher replaces it at once, by one that nobody keeps.",
            );
        }
        screen.pause(700).await;
    }

    screen.line("");
    screen.say("IDCS may send addresses late. Jira needs one, so Usher takes Bella in and waits:");
    let bella = stage.cast.find("Bella")?;
    join(stage, bella, CreateForm::WithoutEmails).await?;
    waiting(stage, 1).await?;
    stage.claim(
        stage.jira.user("bella").is_none(),
        "Bella is acknowledged and waits; usher status counts 1 waiting",
    );
    screen.pause(700).await;
    add_emails(stage, bella).await?;
    stage.converged("Bella in Jira").await?;
    screen.pause(700).await;

    screen.line("");
    screen.say(
        "The others, in the forms that IDCS may use: with a password (never kept), without active, without \
         addresses. Then the groups, as members of the group or as groups of the user.",
    );
    screen.gather();
    let mut late = Vec::new();
    for who in 3..stage.cast.first_wave() {
        let form = match who % 5 {
            0 => CreateForm::WithPassword,
            1 => CreateForm::WithoutActive,
            2 => CreateForm::Bare,
            _ => CreateForm::Full,
        };
        // An address that is missing would hide what is to be shown about these two.
        let hands_off = stage.cast.members[who].standing == Standing::HandsOff;
        let form = if hands_off { CreateForm::Full } else { form };
        join(stage, who, form).await?;
        if form == CreateForm::Bare {
            late.push(who);
        }
    }
    waiting(stage, late.len()).await?;
    for who in late {
        add_emails(stage, who).await?;
    }
    groups(stage).await?;
    stage.converged("everybody in Jira").await?;
    screen.gathered();
    stage.cast.note_keys(&stage.jira);

    let accounts = made_by_usher(stage);
    stage.claim(
        accounts == 34,
        &format!("{accounts} new accounts, each with the name, address and groups that IDCS says"),
    );
    screen.pause(1000).await;
    screen.line("");
    screen.say(
        "Two of the 36 got none in Jira. Gina's name is taken there by somebody whom Usher did not make, and admin \
         is protected:",
    );
    for (given, login) in [("Gina", "gina"), ("Admin", "admin")] {
        let person = format!("{login}@example.com");
        let about = stage.usher.run(&["explain", &person, "--target", "jira"])?;
        // Without the rules that led to it, and the history: `usher explain` shows both.
        let short: Vec<&str> = about
            .lines()
            .filter(|line| !line.starts_with("      ") && !line.contains("history"))
            .collect();
        screen.command(
            &format!("usher explain {person} --target jira      (shortened)"),
            &short.join("\n"),
        );
        let expected = if given == "Gina" {
            "did not make"
        } else {
            "protected"
        };
        stage.claim(
            about.contains(expected) && untouched(stage, login),
            &format!("{login} in Jira is as before, and Usher says why"),
        );
        screen.pause(700).await;
    }
    Ok(())
}

async fn marriage(stage: &mut Stage) -> anyhow::Result<()> {
    let screen = stage.screen.clone();
    screen.chapter("2  Carla Weiß marries: another family name, address and login");
    let who = stage.cast.find("Carla")?;
    let member = &mut stage.cast.members[who];
    let person = &mut member.person;
    person.user_name = "carla.marsh@example.com".to_owned();
    person.email.clone_from(&person.user_name);
    person.family_name = "Marsh".to_owned();
    person.display_name = "Carla Marsh".to_owned();
    let changes = [
        Change::new("userName", person.user_name.as_str()),
        Change::new("name.familyName", "Marsh"),
        Change::new("name.formatted", "Carla Marsh"),
        Change::new("displayName", "Carla Marsh"),
        Change::new("emails", person.emails()),
    ];
    let (id, key) = (member.id.clone(), member.key.clone().unwrap_or_default());
    let form = UpdateForm::Pathless;
    stage.push(stage.idcs.update(&id, &changes, form)).await?;
    stage.converged("Carla's new name in Jira").await?;
    let kept = stage
        .jira
        .user("carla.marsh")
        .is_some_and(|it| it.key == key);
    stage.claim(
        kept && stage.jira.user("carla").is_none(),
        &format!("the same account ({key}) under the new name: her issues stay hers"),
    );
    screen.say(
        "Bitbucket, Crowd and Guard have renamed her too. Confluence cannot: there she keeps her login, under her \
         new name.",
    );
    screen.pause(1000).await;
    Ok(())
}

async fn moves(stage: &mut Stage) -> anyhow::Result<()> {
    let screen = stage.screen.clone();
    screen.chapter("3  Groups: one person out, one in, and a group gets another name");
    let (boris, dana) = (stage.cast.find("Boris")?, stage.cast.find("Dana")?);
    put_out(stage, boris, SUPPORT).await?;
    stage.converged("Boris out of support").await?;
    put_in(stage, dana, ENGINEERING, AddForm::CapitalOp).await?;
    stage.converged("Dana in engineering").await?;
    screen.pause(700).await;

    screen.line("");
    screen.say(
        "operations is called site-reliability in IDCS now. Jira cannot rename a group, and permissions hang on \
         its name: it keeps standing for the same one.",
    );
    let (groups, writes) = (stage.jira.groups(), stage.jira.writes());
    "site-reliability".clone_into(&mut stage.cast.teams[OPERATIONS].name);
    let id = stage.cast.teams[OPERATIONS].id.clone();
    stage
        .push(stage.idcs.rename_group(&id, "site-reliability"))
        .await?;
    screen.name(&id, "site-reliability");
    stage.converged("the rename taken in").await?;
    let written = stage.jira.writes() - writes;
    stage.claim(written == 0, "the new name alone changes nothing in Jira");
    let alan = stage.cast.find("Alan")?;
    put_in(stage, alan, OPERATIONS, AddForm::Plain).await?;
    stage.converged("Alan in operations").await?;
    stage.claim(
        stage.jira.groups() == groups,
        "who joins site-reliability in IDCS joins operations in Jira; no group was made",
    );
    screen.pause(1000).await;
    Ok(())
}

async fn leaver(stage: &mut Stage) -> anyhow::Result<()> {
    let screen = stage.screen.clone();
    screen.chapter("4  Edith leaves, and leads a project and a component in Jira");
    stage.jira.seed_project(
        "APOLLO",
        "edith",
        &[("Guidance", "edith"), ("Landing", "ada")],
    );
    screen.say(
        "Jira refuses to deactivate a lead. usher.toml says who takes over: default_project_lead and \
         default_component_lead are pm. Bitbucket has no inactive accounts: there she loses every group, and with \
         them the licence.",
    );
    let who = stage.cast.find("Edith")?;
    deactivate(stage, who, DeactivateForm::ArrayString).await?;
    stage.converged("Edith inactive").await?;
    let jira = &stage.jira;
    let lead = |component| jira.component_lead("APOLLO", component);
    let handed = jira.project_lead("APOLLO").as_deref() == Some("pm")
        && lead("Guidance").as_deref() == Some("pm")
        && lead("Landing").as_deref() == Some("ada");
    stage.claim(
        handed,
        "Edith is inactive, pm leads what she led, and nobody else's component changed",
    );
    stage.claim(
        !stage.beside.has_access_to_bitbucket("edith"),
        "she may not sign in to Bitbucket any more; what she had there is written down for her return",
    );
    screen.pause(1000).await;
    Ok(())
}

async fn revoked(stage: &mut Stage) -> anyhow::Result<()> {
    let screen = stage.screen.clone();
    screen.chapter("5  Felix is taken off the app in IDCS, which sends a DELETE");
    let who = stage.cast.find("Felix")?;
    let id = stage.cast.members[who].id.clone();
    stage.cast.members[who].standing = Standing::Revoked;
    stage.push(stage.idcs.revoke(&id)).await?;
    stage.converged("Felix inactive").await?;
    let kept = stage.jira.user("felix").is_some_and(|it| !it.active);
    stage.claim(kept, "the account is inactive, and kept: it is not deleted");
    screen.pause(1000).await;
    Ok(())
}

async fn outage(stage: &mut Stage) -> anyhow::Result<()> {
    let screen = stage.screen.clone();
    screen.chapter("6  Jira goes down while three changes are pushed");
    stage.jira.set_down(true);
    screen.say("Jira alone: the others go on.");
    let hana = stage.cast.find("Hana")?;
    rename_display(stage, hana, "Hana Sato-Lind").await?;
    let hugo = stage.cast.find("Hugo")?;
    deactivate(stage, hugo, DeactivateForm::CapitalOpPathless).await?;
    let ines = stage.cast.find("Ines")?;
    put_in(stage, ines, LEADS, AddForm::Pathless).await?;
    let status = |it: &Stage| it.usher.status().unwrap_or_default();
    let down = |it: &Stage| match status(it) {
        status if status["state"] == "down" && status["pending"] == 3 => Vec::new(),
        status => vec![format!("usher status: {status}")],
    };
    stage
        .until("usher status says that Jira is down", down)
        .await?;
    screen.command("usher status", &stage.usher.run(&["status"])?);
    stage
        .until("the others go on", |stage| {
            stage.beside.differences(&stage.cast)
        })
        .await?;
    stage.claim(
        true,
        "all three are acknowledged and wait for Jira; IDCS noticed nothing, and the other four have them",
    );
    screen.pause(1500).await;
    screen.say("Jira is back:");
    stage.jira.set_down(false);
    screen.open_end();
    let took = stage.converged("the three changes in Jira").await?;
    let text = format!(
        "nothing was lost: all three are in Jira {} after its return",
        shown(took)
    );
    stage.claim(status(stage)["state"] == "up", &text);
    screen.pause(1000).await;
    Ok(())
}

async fn crash(stage: &mut Stage) -> anyhow::Result<()> {
    let screen = stage.screen.clone();
    screen.chapter("7  Usher is killed with kill -9 in the middle of a burst of pushes");
    screen.say(
        "12 newcomers are assigned and put into support, 6 people get a doctorate; Jira is slow.",
    );
    let burst = Burst::new(&mut stage.cast);
    stage.jira.set_latency(Duration::from_millis(60));
    screen.gather();
    let mut outcome = Outcome::default();
    let Stage {
        idcs,
        jira,
        cast,
        usher,
        ..
    } = stage;
    let acknowledged = std::sync::atomic::AtomicUsize::new(0);
    let pushing = async {
        for step in &burst.steps {
            let pushed = send(idcs, cast, step, &mut outcome.ids).await;
            if pushed.is_some_and(|it| it.ok()) {
                acknowledged.fetch_add(1, Ordering::Relaxed);
                outcome.acknowledged.insert(*step);
            }
            // The pace of the burst; nothing is expected of this time.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let killing = async {
        let started = Instant::now();
        loop {
            let there = burst
                .newcomers
                .iter()
                .filter(|it| has_account(jira, cast, **it));
            if there.count() >= 2 && acknowledged.load(Ordering::Relaxed) >= 10 {
                return usher.kill();
            }
            ensure!(
                started.elapsed() < Duration::from_secs(60),
                "no moment to kill Usher in: Jira got none of the newcomers"
            );
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let ((), killed) = tokio::join!(pushing, killing);
    killed?;
    screen.gathered();
    let accepted = burst
        .newcomers
        .iter()
        .filter(|it| outcome.ids.contains_key(it));
    let (accepted, there) = accepted.fold((0, 0), |(accepted, there), it| {
        let has = has_account(&stage.jira, &stage.cast, *it);
        (accepted + 1, there + usize::from(has))
    });
    screen.say(&format!(
        "Killed. {} of {} pushes were acknowledged. Of {accepted} acknowledged newcomers {there} have an account.",
        outcome.acknowledged.len(),
        burst.steps.len(),
    ));
    screen.pause(1500).await;

    let took = stage.usher.serve().await?;
    screen.command("usher serve", &format!("ready after {}", shown(took)));
    if let Some(line) = stage
        .usher
        .logged("work items of a crashed server are taken up again")
    {
        screen.say(&format!(
            "Its log: {} work items of a crashed server are taken up again",
            line["released"]
        ));
    }
    screen.say("IDCS repeats what was not acknowledged, and nothing else:");
    screen.gather();
    for step in &burst.steps {
        if outcome.acknowledged.contains(step) {
            continue;
        }
        let pushed = send(&stage.idcs, &stage.cast, step, &mut outcome.ids).await;
        let pushed = pushed.context("a newcomer has no id")?;
        // Taken in before the kill, though the answer was lost: that is what IDCS has to be told.
        let known = pushed.status == 409 && matches!(step, Step::Join(_));
        ensure!(
            pushed.ok() || known,
            "refused after the crash: {}",
            pushed.text
        );
        if let (true, Step::Join(who)) = (known, step) {
            let login = &stage.cast.members[*who].person.user_name;
            let found = stage.idcs.lookup(login).await;
            let id = found.resources().first().and_then(|it| it["id"].as_str());
            let id = id.context("told of a conflict, but not of whom with")?;
            outcome.ids.insert(*who, id.to_owned());
        }
    }
    for (who, id) in &outcome.ids {
        let member = &mut stage.cast.members[*who];
        member.id.clone_from(id);
        member.standing = Standing::Assigned;
        screen.name(id, &member.login());
    }
    stage.converged("the whole burst in Jira").await?;
    stage.jira.set_latency(Duration::ZERO);
    screen.gathered();
    stage.cast.note_keys(&stage.jira);
    stage.claim(
        true,
        "nothing is lost: all 12 are in Jira and in support, all 6 have their title",
    );
    let twice = made_twice(stage);
    stage.claim(twice.is_empty(), "no account was made twice");
    screen.pause(1000).await;
    Ok(())
}

async fn comeback(stage: &mut Stage) -> anyhow::Result<()> {
    let screen = stage.screen.clone();
    screen.chapter("8  Felix comes back: IDCS sends a new person of the old name");
    let who = stage.cast.find("Felix")?;
    let (old, key) = {
        let member = &stage.cast.members[who];
        (member.id.clone(), member.key.clone().unwrap_or_default())
    };
    join(stage, who, CreateForm::Full).await?;
    let groups = stage.cast.members[who].groups.clone();
    for team in groups {
        put_in(stage, who, team, AddForm::Plain).await?;
    }
    stage.converged("Felix back").await?;
    let member = &stage.cast.members[who];
    let back = stage
        .jira
        .user("felix")
        .is_some_and(|it| it.active && it.key == key);
    let text = format!("another SCIM id, but the same account ({key}) in the same groups");
    stage.claim(back && member.id != old, &text);
    screen.pause(1000).await;
    Ok(())
}

async fn repetition(stage: &mut Stage) -> anyhow::Result<()> {
    let screen = stage.screen.clone();
    screen.chapter("9  IDCS pushes everything once more");
    let (writes, beside) = (stage.jira.writes(), stage.beside.writes());
    screen.gather();
    for member in &stage.cast.members {
        if member.standing != Standing::Revoked {
            let request = stage.idcs.put_full(&member.id, &member.person);
            stage.push(request).await?;
        }
    }
    for (index, team) in stage.cast.teams.iter().enumerate() {
        let ids = stage.cast.ids_in(index);
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let request = stage.idcs.put_group(&team.id, &team.name, &ids);
        stage.push(request).await?;
    }
    stage.converged("the repetition taken in").await?;
    screen.gathered();
    let written = stage.jira.writes() - writes;
    let elsewhere = stage.beside.writes() - beside;
    stage.claim(
        written + elsewhere == 0,
        &format!("{written} writes to Jira, as Jira counts them, and {elsewhere} to the others"),
    );
    screen.say("And one real change, to see that Usher was not asleep:");
    let nora = stage.cast.find("Nora")?;
    rename_display(stage, nora, "Nora Kelly-Ward").await?;
    stage.converged("Nora's new name in Jira").await?;
    let written = stage.jira.writes() - writes;
    stage.claim(written == 1, &format!("{written} write to Jira"));
    screen.pause(1000).await;
    Ok(())
}

/// What no push brings: the domain is asked.
async fn missed(stage: &mut Stage) -> anyhow::Result<()> {
    let screen = stage.screen.clone();
    screen.chapter("10  A push that never came, and somebody who is faster than hers");
    let hana = stage.cast.find("Hana")?;
    "Dr. Hana Sato-Lind".clone_into(&mut stage.cast.members[hana].person.display_name);
    in_the_domain(stage, hana);
    screen.say(
        "Hana has a doctorate in the domain, and IDCS did not tell. Usher reads domains on a schedule, and when it is \
         told to:",
    );
    let synced = stage
        .usher
        .run(&["sync", "corp", "--user", "hana@example.com"])?;
    screen.command("usher sync corp --user hana@example.com", &synced);
    screen.open_end();
    stage.converged("Hana's title in Jira").await?;
    stage.claim(
        synced.contains("a push should have brought that"),
        "what no push brought is found, done and counted as a missed push",
    );
    screen.pause(700).await;

    screen.line("");
    screen.say(
        "Zelda was assigned a moment ago and signs in to Jira before her push has come. Jira's proxy asks the login \
         hook:",
    );
    let mut zelda = Member::new(("Zelda", "Quist"), [RESEARCH].into());
    zelda.standing = Standing::Assigned;
    let login = zelda.person.user_name.clone();
    stage.cast.members.push(zelda);
    in_the_domain(stage, stage.cast.members.len() - 1);
    let hook = stage.usher.run(&["token", "create", "corp", "--hook"])?;
    let url = stage.usher.scim().replace("/scim/v2", "/hooks/login");
    let body = json!({"user": login, "targets": ["jira"]});
    let began = Instant::now();
    let answer = reqwest::Client::builder()
        .build()?
        .post(url)
        .header("X-Usher-Token", hook.trim())
        .body(body.to_string())
        .send()
        .await?;
    let (status, took) = (answer.status(), began.elapsed());
    screen.command(
        &format!("POST /hooks/login {body}"),
        &format!("{status} after {}", shown(took)),
    );
    let is_there = stage.jira.user("zelda").is_some_and(|it| it.active);
    stage.claim(
        status.is_success() && is_there,
        "she has her account, with her groups, before she is let in",
    );
    stage.converged("Zelda everywhere else").await?;
    screen.pause(1000).await;
    Ok(())
}

/// Puts somebody into the domain, with the groups.
fn in_the_domain(stage: &Stage, who: usize) {
    let member = &stage.cast.members[who];
    let id = stage.domain.add_user(&member.person);
    for team in &member.groups {
        let group = stage.domain.add_group(&stage.cast.teams[*team].name);
        stage.domain.add_members(&group, &[&id]);
    }
}

async fn finale(stage: &mut Stage, took: Duration) -> anyhow::Result<()> {
    let screen = stage.screen.clone();
    screen.chapter("The count");
    let differences = stage.cast.differences(&stage.jira);
    let beside = stage.beside.differences(&stage.cast);
    stage.claim(
        differences.is_empty() && beside.is_empty(),
        "all five products are as IDCS wants them, person by person and group by group",
    );
    let names: Vec<String> = stage.others.iter().map(|it| it.name.clone()).collect();
    let left_alone = names.iter().all(|name| untouched(stage, name));
    stage.claim(
        left_alone,
        &format!("untouched, and not Usher's: {}", names.join(", ")),
    );
    let statuses = stage.usher.statuses()?;
    let held = |status: &Value| u64::from(status["name"] == "jira");
    stage.claim(
        statuses.iter().all(|status| {
            status["held"] == held(status) && status["failed"] == 0 && status["waiting"] == 0
        }),
        "nothing failed, nothing waits; held for a person to decide: gina in Jira",
    );
    // What the mirror has is asked for as IDCS asks, and counted with its pushes no more.
    let pushes = stage.pushes.load(Ordering::Relaxed);
    screen.gather();
    let mirror = stage
        .idcs
        .import_page(1, 1)
        .await
        .total()
        .unwrap_or_default();
    let assigned = stage.cast.members.iter();
    let assigned = assigned
        .filter(|it| it.standing != Standing::Revoked)
        .count();
    stage.claim(
        mirror == assigned as u64,
        &format!("{assigned} people in IDCS, {mirror} in Usher"),
    );
    let users = stage.jira.users();
    let active = users.iter().filter(|it| it.active).count();
    let twice = made_twice(stage);
    let beside = stage.beside.counts();
    stage.claim(
        beside.iter().all(|counts| counts.twice == 0),
        "no account was made twice in any of the others either",
    );
    screen.line("");
    let accounts: Vec<(String, String)> = beside
        .iter()
        .map(|counts| {
            let name = format!("accounts in {}", counts.product);
            (name, counts.accounts.to_string())
        })
        .collect();
    let mut rows = vec![
        ("people in IDCS", assigned.to_string()),
        (
            "accounts in Jira",
            format!("{} ({active} active)", users.len()),
        ),
        ("  made by Usher", made_by_usher(stage).to_string()),
        ("  there before", stage.others.len().to_string()),
        ("  made twice", twice.len().to_string()),
    ];
    rows.extend(accounts.iter().map(|(name, n)| (name.as_str(), n.clone())));
    rows.extend([
        ("requests from IDCS", pushes.to_string()),
        ("write requests to Jira", stage.jira.writes().to_string()),
        ("  and to the others", stage.beside.writes().to_string()),
        ("time", shown(took)),
    ]);
    screen.table(&rows);
    let broken = stage.broken_claims();
    screen.line("");
    match broken {
        0 => screen.claim(true, "Every claim held."),
        _ => screen.claim(
            false,
            &format!("{broken} claims did not hold, see ✗ above."),
        ),
    }
    Ok(())
}

/// What to do with the running system.
pub(crate) fn leave_running(stage: &Stage) -> anyhow::Result<()> {
    let (screen, usher) = (&stage.screen, &stage.usher);
    let script = usher.write_script()?;
    // What the last request of the story was counted for is over.
    screen.open_end();
    screen.forget_gathered();
    let token = stage.idcs_token.as_str();
    let (scim, jira, jira_token) = (usher.scim(), stage.jira.url(), &stage.jira_token);
    screen.chapter("Everything runs on: your turn");
    screen.table(&[
        ("Usher's SCIM URL", scim.clone()),
        ("  bearer token", token.to_owned()),
        ("emulated Jira", jira.clone()),
        ("  bearer token", jira_token.clone()),
        (
            "configuration",
            usher.file("usher.toml").display().to_string(),
        ),
        ("Usher's log", usher.log().display().to_string()),
    ]);
    screen.line("");
    screen.say("In another terminal: what is open, and why people have what they have.");
    screen.line("");
    let script = quoted(&script.display().to_string());
    for command in [
        "status",
        "explain carla.marsh@example.com",
        "explain gina@example.com",
    ] {
        screen.line(&format!("{script} {command}"));
    }
    screen.line("");
    screen.say("Be IDCS: push somebody new. Then look her up in Jira.");
    screen.line("");
    let body = json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
        "userName": "mary@example.com",
        "displayName": "Mary Jackson",
        "active": true,
        "emails": [{"value": "mary@example.com", "type": "work", "primary": true}],
    });
    screen.line(&format!(
        "curl -sS {scim}/Users -H 'Authorization: Bearer {token}' -H 'Content-Type: application/scim+json' -d '{body}'"
    ));
    screen.line("");
    screen.line(&format!(
        "curl -sS '{jira}/rest/api/2/user?username=mary&expand=groups' -H 'Authorization: Bearer {jira_token}'"
    ));
    screen.line("");
    screen.say("What happens in the products is shown here. Ctrl-C stops everything.");
    Ok(())
}

// What IDCS does

async fn join(stage: &mut Stage, who: usize, form: CreateForm) -> anyhow::Result<()> {
    let member = stage.cast.members[who].clone();
    let pushed = stage
        .push(stage.idcs.create_as(&member.person, form))
        .await?;
    let id = pushed.id().to_owned();
    stage.screen.name(&id, &member.login());
    let member = &mut stage.cast.members[who];
    member.id = id;
    member.standing = match form {
        _ if member.standing == Standing::HandsOff => Standing::HandsOff,
        CreateForm::WithoutEmails | CreateForm::Bare => Standing::Outside,
        _ => Standing::Assigned,
    };
    Ok(())
}

async fn add_emails(stage: &mut Stage, who: usize) -> anyhow::Result<()> {
    stage.cast.members[who].standing = Standing::Assigned;
    let member = &stage.cast.members[who];
    let request = stage.idcs.add_emails(&member.id, &member.person);
    stage.push(request).await?;
    Ok(())
}

async fn deactivate(stage: &mut Stage, who: usize, form: DeactivateForm) -> anyhow::Result<()> {
    stage.cast.members[who].person.active = false;
    let id = stage.cast.members[who].id.clone();
    stage.push(stage.idcs.deactivate(&id, form)).await?;
    Ok(())
}

async fn rename_display(stage: &mut Stage, who: usize, name: &str) -> anyhow::Result<()> {
    let member = &mut stage.cast.members[who];
    name.clone_into(&mut member.person.display_name);
    let (id, change) = (member.id.clone(), Change::new("displayName", name));
    let form = UpdateForm::ArrayValues;
    stage.push(stage.idcs.update(&id, &[change], form)).await?;
    Ok(())
}

async fn put_in(stage: &mut Stage, who: usize, team: usize, form: AddForm) -> anyhow::Result<()> {
    stage.cast.members[who].groups.insert(team);
    let (group, user) = (&stage.cast.teams[team].id, &stage.cast.members[who].id);
    let users = [user.as_str()];
    let request = stage.idcs.add_members(group, &users, form);
    stage.push(request).await?;
    Ok(())
}

async fn put_out(stage: &mut Stage, who: usize, team: usize) -> anyhow::Result<()> {
    stage.cast.members[who].groups.remove(&team);
    let (group, user) = (&stage.cast.teams[team].id, &stage.cast.members[who].id);
    let users = [user.as_str()];
    let form = RemoveForm::Filter;
    let request = stage.idcs.remove_members(group, &users, form);
    stage.push(request).await?;
    Ok(())
}

/// The five groups, each in another form.
async fn groups(stage: &mut Stage) -> anyhow::Result<()> {
    for team in [ENGINEERING, RESEARCH, OPERATIONS, SUPPORT, LEADS] {
        let ids = stage.cast.ids_in(team);
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let name = stage.cast.teams[team].name.clone();
        let with_it: &[&str] = if team == ENGINEERING { &ids } else { &[] };
        let pushed = stage.push(stage.idcs.create_group(&name, with_it)).await?;
        let id = pushed.id().to_owned();
        stage.screen.name(&id, &name);
        let form = match team {
            RESEARCH => Some(AddForm::Plain),
            OPERATIONS => Some(AddForm::OnUser),
            SUPPORT => Some(AddForm::CapitalOp),
            LEADS => Some(AddForm::Pathless),
            _ => None,
        };
        if let Some(form) = form {
            stage.push(stage.idcs.add_members(&id, &ids, form)).await?;
        }
        stage.cast.teams[team].id = id;
    }
    Ok(())
}

// The burst of the crash

/// One push of the burst; the number is a member of the cast.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Step {
    Join(usize),
    Support(usize),
    Doctorate(usize),
}

struct Burst {
    newcomers: Vec<usize>,
    steps: Vec<Step>,
}

#[derive(Default)]
struct Outcome {
    acknowledged: HashSet<Step>,
    /// SCIM ids of the newcomers.
    ids: BTreeMap<usize, String>,
}

impl Burst {
    /// Lines it up, and notes in the cast what will be true at its end.
    fn new(cast: &mut Cast) -> Self {
        let newcomers: Vec<usize> = (cast.first_wave()..cast.members.len()).collect();
        let doctors = ["Ada", "Alan", "Cyrus", "Dana", "Denis", "Emil"];
        let mut doctors = doctors.iter().filter_map(|it| cast.find(it).ok());
        let mut steps = Vec::new();
        for (index, who) in newcomers.iter().enumerate() {
            steps.extend([Step::Join(*who), Step::Support(*who)]);
            if index % 2 == 0 {
                steps.extend(doctors.next().map(Step::Doctorate));
            }
        }
        for step in &steps {
            match step {
                Step::Join(_) => {}
                Step::Support(who) => {
                    cast.members[*who].groups.insert(SUPPORT);
                }
                Step::Doctorate(who) => {
                    let name = &mut cast.members[*who].person.display_name;
                    *name = format!("Dr. {name}");
                }
            }
        }
        Self { newcomers, steps }
    }
}

/// Sends one push of the burst, unless it needs an id that Usher has not told.
async fn send(
    idcs: &IdcsPush,
    cast: &Cast,
    step: &Step,
    ids: &mut BTreeMap<usize, String>,
) -> Option<Pushed> {
    match step {
        Step::Join(who) => {
            let pushed = idcs.create(&cast.members[*who].person).await;
            if pushed.ok() {
                ids.insert(*who, pushed.id().to_owned());
            }
            Some(pushed)
        }
        Step::Support(who) => {
            let id = ids.get(who)?;
            let group = &cast.teams[SUPPORT].id;
            Some(idcs.add_members(group, &[id], AddForm::Plain).await)
        }
        Step::Doctorate(who) => {
            let member = &cast.members[*who];
            let change = Change::new("displayName", member.name());
            let form = UpdateForm::Plain;
            Some(idcs.update(&member.id, &[change], form).await)
        }
    }
}

// What is there

fn has_account(jira: &Jira, cast: &Cast, who: usize) -> bool {
    jira.user(&cast.members[who].login()).is_some()
}

fn made_by_usher(stage: &Stage) -> usize {
    let users = stage.jira.users();
    let is_other = |key: &str| stage.others.iter().any(|it| it.key == key);
    users.iter().filter(|it| !is_other(&it.key)).count()
}

/// Names that were created more than once, and addresses that more than one account has.
fn made_twice(stage: &Stage) -> Vec<String> {
    let users = stage.jira.users();
    let mut twice: Vec<String> = users
        .iter()
        .filter(|it| stage.jira.creations(&it.name) > 1)
        .map(|it| it.name.clone())
        .collect();
    let mut addresses = HashSet::new();
    let repeated = users.iter().filter(|it| !addresses.insert(&it.email));
    twice.extend(repeated.map(|it| it.email.clone()));
    twice
}

/// Whether an account that was there before Usher is as it was.
fn untouched(stage: &Stage, name: &str) -> bool {
    let before = stage.others.iter().find(|it| it.name == name);
    before.is_some() && before == stage.jira.user(name).as_ref()
}

async fn waiting(stage: &mut Stage, people: usize) -> anyhow::Result<()> {
    let what = "usher status counts those who wait for an address";
    let missing = move |stage: &Stage| match stage.usher.status() {
        Ok(status) if status["waiting"] == people => Vec::new(),
        Ok(status) => vec![format!("usher status: {status}")],
        Err(error) => vec![format!("{error:#}")],
    };
    stage.until(what, missing).await?;
    Ok(())
}
