//! How fast the SCIM server is: `cargo bench`, or `cargo bench -- --help`.
//!
//! A figure alone says more about the machine than about the server, so what is aimed at are ratios to
//! baselines measured in the same run: a server of the same framework that does nothing but answer, and SQLite
//! that does nothing but insert. A missed aim is a figure and no failure; a wrong answer is a failure.

#![expect(
    clippy::print_stdout,
    reason = "the report is what this program is for"
)]

mod effect;
mod figures;
mod http;
mod login;
mod people;
mod process;
mod pull;
mod raw;
mod rules;
mod storing;

use std::cell::RefCell;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Parser;
use serde_json::Value;
use tokio::runtime::Runtime;

use figures::{Entrant, Figures, Report, contest, latency_ratio, rate_ratio};
use http::{Call, Make, Until};
use people::People;
use process::Server;
use raw::Raw;

// What the `usher` program has: the baselines are given it, too.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How fast the SCIM server is, in ratios to baselines of the same run.
#[derive(Parser)]
#[command(name = "cargo bench --")]
struct Options {
    /// Also with 100,000 users (on SQLite).
    #[arg(long)]
    large: bool,
    /// Measure on this empty PostgreSQL database instead of a new SQLite file.
    #[arg(long, value_name = "URL")]
    postgres: Option<String>,
    /// How many turns each measurement takes.
    #[arg(long, default_value_t = 5)]
    turns: usize,
    /// How long one turn lasts.
    #[arg(long, default_value_t = 0.5)]
    seconds: f64,
    /// Measure only these parts: reads, pages, patches, creates, groups, large, dead-target, pull, login, effect,
    /// rules, replicas. The last five are left out unless they are named alone, or with --large; replicas need --postgres.
    #[arg(long, value_name = "PARTS", value_delimiter = ',')]
    only: Vec<String>,
    /// How many users the domains of `pull` have; with --postgres one number, for the database has to be empty.
    #[arg(long, value_delimiter = ',', default_values_t = [10_000, 100_000])]
    pull_users: Vec<usize>,
    /// What cargo passes to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

/// Users in the small measurement.
const SMALL: usize = 5_000;
/// Users in the large one.
const LARGE: usize = 100_000;
/// Group sizes.
const SIZES: [usize; 3] = [100, 5_000, 20_000];
/// How many members one turn adds to a group.
const ADDED: usize = 256;
/// How often a database is asked each thing.
const ASKED: usize = 100;
/// How many connections there are at the same time, beside one.
const MANY: usize = 16;

fn main() -> anyhow::Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [role, address, file] = arguments.as_slice() {
        match role.as_str() {
            process::AS_BARE => return process::serve_bare(address, Path::new(file)),
            storing::AS_STORING => return storing::serve(address, Path::new(file)),
            _ => {}
        }
    }
    let options = Options::parse();
    // One thread: the client must leave the processors to the server.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    Bench::new(options, runtime)?.run()?;
    Ok(ExitCode::SUCCESS)
}

/// One run.
struct Bench {
    options: Options,
    runtime: Runtime,
    folder: tempfile::TempDir,
    database: String,
    report: RefCell<Report>,
}

impl Bench {
    fn new(options: Options, runtime: Runtime) -> anyhow::Result<Self> {
        // Not below /tmp, which is no disk on many systems.
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        let database = match &options.postgres {
            Some(url) => url.clone(),
            None => process::sqlite_url(folder.path(), "usher.db"),
        };
        Ok(Self {
            options,
            runtime,
            folder,
            database,
            report: RefCell::default(),
        })
    }

    fn run(&self) -> anyhow::Result<()> {
        let folder = self.folder.path();
        if self.options.only == ["pull"] {
            self.pull()?;
            self.print_report();
            return Ok(());
        }
        if self.options.only == ["rules"] {
            self.rules()?;
            self.print_report();
            return Ok(());
        }
        if self.options.only == ["login"] {
            return self.login();
        }
        if self.options.only == ["effect"] {
            return self.effect();
        }
        if self.options.only == ["replicas"] {
            return self.replicas();
        }
        self.apply(&self.database, CONNECTION)?;
        let token = process::run(&self.database, &["token", "create", "bench"])?;
        let usher = self
            .runtime
            .block_on(Server::usher(&self.database, folder))?;
        let people = People::new(token);
        println!(
            "{} turns of {} s each, {} processors, load {}\n\n{}",
            self.options.turns,
            self.options.seconds,
            std::thread::available_parallelism()?,
            machine_load(),
            figures::heading()
        );
        self.resident(&usher, "no users", None);

        self.runtime.block_on(people.fill_up(&usher, SMALL))?;
        if self.wanted("reads") {
            self.reads(&usher, &people)?;
        }
        if self.wanted("pages") {
            self.pages(&usher, &people, SMALL)?;
        }
        if self.wanted("patches") {
            self.patches(&usher, &people)?;
        }
        self.resident(&usher, "5,000 users", Some(64.0));
        if self.wanted("creates") {
            self.creates(&usher, &people)?;
        }
        if self.wanted("groups") {
            self.groups(&usher, &people)?;
            self.resident(&usher, "groups of up to 20,000", None);
        }
        if self.options.large && self.wanted("large") {
            self.large()?;
        }
        if self.wanted("dead-target") {
            self.creates_beside_a_dead_target(&usher, &people)?;
        }
        if self.options.large && self.options.only.is_empty() {
            self.login()?;
            self.effect()?;
            self.pull()?;
            self.rules()?;
        }
        self.print_report();
        Ok(())
    }

    /// How long a login waits.
    fn login(&self) -> anyhow::Result<()> {
        println!("logging in, load {}", machine_load());
        for waits in self.runtime.block_on(login::measure(self.folder.path()))? {
            println!(
                "  {}: p50 {:.1?}, p99 {:.1?}",
                waits.what, waits.p50, waits.p99
            );
        }
        Ok(())
    }

    /// How long a change takes to the product.
    fn effect(&self) -> anyhow::Result<()> {
        println!(
            "from a push to its effect in a Jira that answers in 20 ms, load {}",
            machine_load()
        );
        let measured = effect::measure(self.folder.path(), &[10, 50, 200], &[4, 16]);
        for it in self.runtime.block_on(measured)? {
            println!(
                "  {:>3} changes a second, concurrency {:>2}: p50 {:.0?}, p95 {:.0?}, p99 {:.0?}",
                it.a_second, it.concurrency, it.p50, it.p95, it.p99
            );
        }
        Ok(())
    }

    /// One server beside two, and SQLite beside PostgreSQL.
    fn replicas(&self) -> anyhow::Result<()> {
        let folder = self.folder.path();
        let postgres = self.options.postgres.as_deref();
        let postgres = postgres.context("name an empty database with --postgres")?;
        let sqlite = process::sqlite_url(folder, "one.db");
        let mut people = Vec::new();
        let mut servers = Vec::new();
        for database in [sqlite.as_str(), postgres] {
            self.apply(database, CONNECTION)?;
            people.push(People::new(process::run(
                database,
                &["token", "create", "bench"],
            )?));
            servers.push(self.runtime.block_on(Server::usher(database, folder))?);
        }
        let second = self.runtime.block_on(Server::usher(postgres, folder))?;
        for (people, server) in people.iter().zip(&servers) {
            self.runtime.block_on(people.fill_up(server, SMALL))?;
        }
        println!("{}", figures::heading());
        let settings = [
            ("SQLite", vec![&servers[0]], &people[0]),
            ("PostgreSQL", vec![&servers[1]], &people[1]),
            (
                "PostgreSQL, two servers",
                vec![&servers[1], &second],
                &people[1],
            ),
        ];
        let mut entrants = Vec::new();
        for (what, servers, people) in &settings {
            let (token, name) = (people.token.clone(), what.replace([' ', ','], ""));
            entrants.push(self.entrant_of(
                &format!("create of a user, {what}"),
                servers.clone(),
                MANY,
                self.time(),
                move |turn| {
                    let (token, name) = (token.clone(), name.clone());
                    let name = move |n| format!("{name}t{turn}n{n:06}@example.com");
                    Arc::new(move |n| people::create(&token, &name(n)))
                },
            ));
        }
        for (what, servers, people) in &settings {
            let people = (*people).clone();
            entrants.push(self.entrant_of(
                &format!("read by id, {what}"),
                servers.clone(),
                MANY,
                self.time(),
                move |_| {
                    let people = people.clone();
                    Arc::new(move |n| people.read(n * 7919))
                },
            ));
        }
        let figures = self.measure(entrants)?;
        for (first, what) in [(0, "creates"), (3, "reads")] {
            println!(
                "{what}: PostgreSQL beside SQLite {}; two servers beside one {}",
                rate_ratio(&figures[first + 1], &figures[first]),
                rate_ratio(&figures[first + 2], &figures[first + 1]),
            );
        }
        Ok(())
    }

    fn print_report(&self) {
        println!(
            "\n{}\nload at the end {}",
            self.report.borrow().text(),
            machine_load()
        );
    }

    /// Reading a domain, small and large.
    fn pull(&self) -> anyhow::Result<()> {
        let sizes = self.options.pull_users.iter().map(|users| pull::Size {
            users: *users,
            groups: users / 50,
            memberships: users * 5,
        });
        let mut peaks = Vec::new();
        println!("reading a domain, load {}", machine_load());
        for size in sizes {
            let name = format!("pull-{}.db", size.users);
            let database = match &self.options.postgres {
                Some(url) => url.clone(),
                None => process::sqlite_url(self.folder.path(), &name),
            };
            let reading = pull::Reading::new(self.folder.path(), &database, size)?;
            println!("{size:?}");
            let first = reading.sync(true)?;
            println!(
                "  first full run: {:.2} s, {}",
                first.took.as_secs_f64(),
                first.counts
            );
            // In turns, because the machine is not the same from one second to the next.
            let (mut again, mut bare) = (Vec::new(), Vec::new());
            let turns = if size.users > 100_000 { 1 } else { 3 };
            for _ in 0..turns {
                again.push(reading.sync(true)?);
                bare.push(self.runtime.block_on(reading.bare())?.as_secs_f64());
            }
            again.sort_by_key(|it| it.took);
            bare.sort_by(f64::total_cmp);
            let (again, bare) = (&again[turns / 2], bare[turns / 2]);
            println!(
                "  without a change: {:.2} s, {}",
                again.took.as_secs_f64(),
                again.counts
            );
            println!("  a bare client, the same pages: {bare:.2} s");
            reading.change(100);
            let some = reading.sync(false)?;
            println!(
                "  100 changes, incremental: {:.2} s, {}",
                some.took.as_secs_f64(),
                some.counts
            );
            let ratio = again.took.as_secs_f64() / bare;
            let what = format!(
                "pull without a change, {} users, of a bare client",
                size.users
            );
            self.report
                .borrow_mut()
                .value(&what, Some(ratio), 1.5, "times");
            let peak = [&first, again, &some]
                .iter()
                .filter_map(|it| it.peak_kib)
                .max();
            if let Some(peak) = peak {
                println!("  peak of resident memory: {:.1} MiB", peak as f64 / 1024.0);
                peaks.push(peak as f64);
            }
            drop(reading);
            self.standing(&database, size)?;
        }
        if let [small, large] = peaks.as_slice() {
            let what = "peak memory of a pull, of the larger domain to the smaller";
            self.report
                .borrow_mut()
                .value(what, Some(large / small), 1.3, "times");
        }
        Ok(())
    }

    /// What is asked of a database that holds so much.
    fn standing(&self, database: &str, size: pull::Size) -> anyhow::Result<()> {
        if let Some(bytes) = process::size_of(database) {
            println!("  on disk: {:.1} MiB", bytes as f64 / 1_048_576.0);
        }
        let token = process::run(database, &["token", "create", "bench"])?;
        let usher = self
            .runtime
            .block_on(Server::usher(database, self.folder.path()))?;
        let name = |n: usize| format!("user{}@example.com", n * 7919 % size.users);
        let look_up = |n: usize| {
            let path = format!("/scim/v2/Users?filter=userName%20eq%20%22{}%22", name(n));
            Call::get(&path, &token, vec![format!("\"userName\":\"{}\"", name(n))])
        };
        let last = size.users.saturating_sub(99).max(1);
        let at_the_end = |_: usize| {
            let path = format!("/scim/v2/Users?startIndex={last}&count=100");
            Call::get(
                &path,
                &token,
                vec![format!("\"totalResults\":{}", size.users)],
            )
        };
        let id_of = |found: &[u8]| -> anyhow::Result<String> {
            let found: Value = serde_json::from_slice(found)?;
            let id = found["Resources"][0]["id"].as_str();
            Ok(id.context("nothing is found")?.to_owned())
        };
        let group =
            "/scim/v2/Groups?filter=displayName%20eq%20%22group-1%22&excludedAttributes=members";
        let group = id_of(&self.once(&usher, &Call::get(group, &token, Vec::new()))?)?;
        let mut ids = Vec::new();
        for n in 0..ASKED {
            ids.push(id_of(&self.once(&usher, &look_up(n))?)?);
        }
        let add = |n: usize| {
            let body = serde_json::json!({
                "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
                "Operations": [{"op": "add", "path": "members", "value": [{"value": ids[n]}]}],
            });
            let path = format!("/scim/v2/Groups/{group}");
            Call::with_body("PATCH", &path, &token, &body.to_string(), 200, Vec::new())
        };
        let calls: [(&str, &dyn Fn(usize) -> Call); 3] = [
            ("userName eq", &look_up),
            ("the last page of 100", &at_the_end),
            ("member add", &add),
        ];
        for (what, call) in calls {
            let mut times = Vec::new();
            for n in 0..ASKED {
                let call = call(n);
                let begun = std::time::Instant::now();
                self.once(&usher, &call)?;
                times.push(begun.elapsed().as_secs_f64() * 1000.0);
            }
            let first = times[0];
            times.sort_by(f64::total_cmp);
            println!(
                "  {what}: p50 {:.1} ms, p99 {:.1} ms, the first one {first:.1} ms",
                times[ASKED / 2],
                times[ASKED * 99 / 100]
            );
        }
        let what = format!("{} users read from a domain", size.users);
        self.resident(&usher, &what, None);
        Ok(())
    }

    /// Changed rules, small and large.
    fn rules(&self) -> anyhow::Result<()> {
        let mut grown = Vec::new();
        println!("changed rules, load {}", machine_load());
        for users in [10_000, LARGE] {
            // Workers of their own: the engine runs in this process.
            let runtime = tokio::runtime::Runtime::new()?;
            let folder = tempfile::tempdir_in(self.folder.path())?;
            let costs = runtime.block_on(rules::measure(folder.path(), users))?;
            for (what, cost) in [("nobody", &costs.nobody), ("one in a hundred", &costs.some)] {
                println!(
                    "  {users} users, {what} differs: marked in {:.2} s, looked at in {:.2} s, {} operations, {} reads",
                    cost.applied.as_secs_f64(),
                    cost.converged.as_secs_f64(),
                    cost.writes,
                    cost.reads
                );
            }
            println!(
                "  {users} users: an undo that concerns {} is foreseen in {:.2} s and stored in {:.2} s",
                costs.undone.people,
                costs.undone.foreseen.as_secs_f64(),
                costs.undone.begun.as_secs_f64()
            );
            if let Some(kib) = costs.grown_kib {
                println!(
                    "  memory grew by {:.1} MiB at the most",
                    kib as f64 / 1024.0
                );
                grown.push(kib as f64 / 1024.0);
            }
        }
        if let [_, large] = grown.as_slice() {
            let what = "growth of memory while the rules of 100,000 users change";
            self.report
                .borrow_mut()
                .value(what, Some(*large), 32.0, "MiB");
        }
        Ok(())
    }

    fn wanted(&self, part: &str) -> bool {
        self.options.only.is_empty() || self.options.only.iter().any(|only| only == part)
    }

    /// Reads beside the server that only answers.
    fn reads(&self, usher: &Server, people: &People) -> anyhow::Result<()> {
        let body = self.once(usher, &people.read(0))?;
        let shown: Value = serde_json::from_slice(&body)?;
        for (name, value) in people::user("user000000@example.com")
            .as_object()
            .context("no object")?
        {
            ensure!(shown[name] == *value, "{name} is shown as {}", shown[name]);
        }
        let found: Value = serde_json::from_slice(&self.once(usher, &people.look_up(0))?)?;
        ensure!(found["Resources"][0] == shown, "found is {found}");

        let bare = self
            .runtime
            .block_on(Server::bare(&body, self.folder.path()))?;
        let bare_call = {
            let people = people.clone();
            move |_: usize| Call::get("/", &people.token, vec![people.id(0)])
        };
        let make = |call: fn(&People, usize) -> Call| -> Make {
            let people = people.clone();
            Arc::new(move |n| call(&people, n * 7919))
        };
        let mut all = Vec::new();
        for connections in [1, MANY] {
            let entrants = vec![
                self.timed(
                    "bare server, same bytes",
                    &bare,
                    connections,
                    Arc::new(bare_call.clone()),
                ),
                self.timed("read by id", usher, connections, make(People::read)),
                self.timed("userName eq", usher, connections, make(People::look_up)),
                self.timed(
                    "compound filter",
                    usher,
                    connections,
                    make(People::look_up_compound),
                ),
            ];
            all.push(self.measure(entrants)?);
        }
        let [one, many] = <[Vec<Figures>; 2]>::try_from(all)
            .ok()
            .context("two contests")?;
        let mut report = self.report.borrow_mut();
        for (index, what) in [(1, "read by id"), (2, "userName eq")] {
            report.at_most(
                &format!("{what}, throughput of the bare server at {MANY} connections"),
                rate_ratio(&many[0], &many[index]),
                3.0,
            );
            report.at_most(
                &format!("{what}, latency beside the bare server's at 1 connection"),
                latency_ratio(&one[index], &one[0]),
                3.0,
            );
        }
        Ok(())
    }

    /// Pages at the start and at the end, one at a time: the end is reached without the pages before it.
    fn pages(&self, usher: &Server, people: &People, count: usize) -> anyhow::Result<()> {
        let mut entrants = Vec::new();
        for (what, start) in [("start", 1), ("end", count - 99)] {
            let call = people.page(start, count);
            let page: Value = serde_json::from_slice(&self.once(usher, &call)?)?;
            let ids: Option<Vec<&str>> = page["Resources"]
                .as_array()
                .map(|all| all.iter().filter_map(|r| r["id"].as_str()).collect());
            ensure!(
                ids.is_some_and(|ids| ids.len() == 100 && ids.is_sorted()),
                "the page at {start} is {page}"
            );
            for connections in [1, MANY] {
                let people = people.clone();
                entrants.push(self.timed(
                    &format!("page of 100 at the {what}, {count} users"),
                    usher,
                    connections,
                    Arc::new(move |_| people.page(start, count)),
                ));
            }
        }
        let figures = self.measure(entrants)?;
        let mut report = self.report.borrow_mut();
        for page in [&figures[0], &figures[2]] {
            report.value(
                &format!("{}, server CPU", page.name),
                page.cpu_us().map(|us| us / 1000.0),
                2.0,
                "ms",
            );
        }
        report.at_most(
            &format!("page at the end beside one at the start, {count} users"),
            latency_ratio(&figures[2], &figures[0]),
            1.5,
        );
        Ok(())
    }

    fn patches(&self, usher: &Server, people: &People) -> anyhow::Result<()> {
        let entrants = [1, MANY].map(|connections| {
            let people = people.clone();
            let slice = move |turn: usize| -> Make {
                let people = people.clone();
                Arc::new(move |n| people.patch(n * 7919, turn * 1_000_000 + connections + n))
            };
            self.entrant("patch of a user", usher, connections, self.time(), slice)
        });
        self.measure(entrants.into())?;
        Ok(())
    }

    /// Durable creates beside SQLite itself, and beside a server that does nothing but store.
    fn creates(&self, usher: &Server, people: &People) -> anyhow::Result<()> {
        let baselines = match &self.options.postgres {
            Some(_) => None,
            None => Some((self.raw("raw.db")?, self.storing("storing.db")?)),
        };
        let mut entrants = vec![
            self.created("create of a user", usher, people, MANY),
            self.created("create of a user", usher, people, 1),
        ];
        if let Some((raw, storing)) = &baselines {
            let limit = Duration::from_secs_f64(self.options.seconds);
            // So many connections cannot bring more than one create each, and half of them are under way while the
            // others' are committed.
            for batch in [raw::BATCH, MANY, MANY / 2] {
                entrants.push(Entrant {
                    name: format!("SQLite alone, {batch} creates a commit"),
                    connections: 1,
                    slice: Box::new(move |_| raw.borrow_mut().measure(limit, batch)),
                });
            }
            entrants.push(self.created("bare server, the same rows stored", storing, people, MANY));
        }
        let figures = self.measure(entrants)?;
        if let [many, _, raw, all, half, storing] = figures.as_slice() {
            println!(
                "  beside SQLite alone with {} creates a commit:",
                raw::BATCH
            );
            for (what, figures) in [
                (
                    format!("with {MANY}, all that {MANY} connections bring"),
                    all,
                ),
                (format!("with {}, half of that", MANY / 2), half),
                (
                    "a bare server that stores the same rows".to_owned(),
                    storing,
                ),
            ] {
                println!("    {what}: {}", rate_ratio(figures, raw));
            }
            let mut report = self.report.borrow_mut();
            report.at_least(
                &format!("durable creates at {MANY} connections beside SQLite alone"),
                rate_ratio(many, raw),
                0.5,
            );
            report.at_least(
                &format!("durable creates at {MANY} connections beside a bare server that stores the same rows"),
                rate_ratio(many, storing),
                0.5,
            );
        }
        Ok(())
    }

    /// SQLite without a server, with as many users as the small measurement has.
    fn raw(&self, name: &str) -> anyhow::Result<RefCell<Raw>> {
        let folder = self.folder.path();
        self.apply(&process::sqlite_url(folder, name), CONNECTION)?;
        let mut raw = Raw::open(&folder.join(name))?;
        raw.fill_up(SMALL)?;
        Ok(RefCell::new(raw))
    }

    /// The server that only stores, with as many users.
    fn storing(&self, name: &str) -> anyhow::Result<Server> {
        drop(self.raw(name)?);
        self.runtime
            .block_on(Server::storing(&self.folder.path().join(name)))
    }

    /// Member adds by the size of the group, and a large group without its members.
    fn groups(&self, usher: &Server, people: &People) -> anyhow::Result<()> {
        let largest = SIZES[SIZES.len() - 1];
        self.runtime
            .block_on(people.fill_up(usher, largest + 2 * ADDED))?;
        let mut groups = Vec::new();
        for size in SIZES {
            groups.push((size, self.runtime.block_on(people.group(usher, size))?));
        }
        for connections in [1, MANY] {
            let mut entrants = Vec::new();
            for (size, group) in &groups {
                entrants.push(self.added(usher, people, *size, group, connections));
            }
            let figures = self.measure(entrants)?;
            if connections == 1 {
                let (first, last) = (&figures[0], &figures[figures.len() - 1]);
                self.report.borrow_mut().at_most(
                    "member add, latency at 20,000 members beside 100",
                    latency_ratio(last, first),
                    1.5,
                );
            }
        }
        let (_, group) = &groups[groups.len() - 1];
        let answer = self.once(usher, &people.group_alone(group))?;
        let answer: Value = serde_json::from_slice(&answer)?;
        ensure!(
            answer["displayName"] == "group of 20000" && answer.get("members").is_none(),
            "the group alone is {answer}"
        );
        for connections in [1, MANY] {
            let (some, group) = (people.clone(), group.clone());
            let readers = people.clone();
            let figures = self.measure(vec![
                self.timed(
                    "read by id",
                    usher,
                    connections,
                    Arc::new(move |n| readers.read(n * 7919)),
                ),
                self.timed(
                    "group of 20,000 without members",
                    usher,
                    connections,
                    Arc::new(move |_| some.group_alone(&group)),
                ),
            ])?;
            self.report.borrow_mut().at_most(
                &format!(
                    "group of 20,000 without members beside a user, latency at {connections} connections"
                ),
                latency_ratio(&figures[1], &figures[0]),
                1.1,
            );
        }
        Ok(())
    }

    /// With 100,000 users, in a SQLite file and a server of their own.
    fn large(&self) -> anyhow::Result<()> {
        let folder = tempfile::tempdir_in(self.folder.path())?;
        let database = process::sqlite_url(folder.path(), "large.db");
        self.apply(&database, CONNECTION)?;
        let token = process::run(&database, &["token", "create", "bench"])?;
        let usher = self
            .runtime
            .block_on(Server::usher(&database, folder.path()))?;
        let people = People::new(token);
        self.runtime.block_on(people.fill_up(&usher, LARGE))?;
        self.resident(&usher, "100,000 users, just pushed", None);
        self.pages(&usher, &people, LARGE)?;
        self.resident(&usher, "100,000 users", Some(128.0));
        // Everybody waits for a target that does not answer: the worst that a page can be asked to show.
        self.apply(&database, &format!("{CONNECTION}{DEAD_TARGET}"))?;
        self.views(&usher, &database, &people)?;
        self.resident(
            &usher,
            "100,000 users, and their pages were looked at",
            None,
        );
        Ok(())
    }

    /// Pages of the seat.
    fn views(&self, usher: &Server, database: &str, people: &People) -> anyhow::Result<()> {
        let token = process::run(database, &["admin", "token", "bench"])?;
        let found: Value = serde_json::from_slice(&self.once(usher, &people.look_up(LARGE / 2))?)?;
        let id = found["Resources"][0]["id"].as_str().context("no id")?;
        println!("pages with {LARGE} people, load {}", machine_load());
        for (what, path) in [
            ("the dashboard", "/".to_owned()),
            ("people", "/people".to_owned()),
            (
                "people, found by a part of the name",
                "/people?q=er0500".to_owned(),
            ),
            (
                "people, found by nothing",
                "/people?q=nobody-is-called-so".to_owned(),
            ),
            ("one person", format!("/people/{id}")),
            ("groups", "/groups".to_owned()),
            ("held", "/held".to_owned()),
            ("failed", "/failed".to_owned()),
            ("drift", "/drift".to_owned()),
            ("runs", "/runs".to_owned()),
            ("audit", "/audit".to_owned()),
        ] {
            let call = Call::get(&path, &token, vec!["</html>".to_owned()]);
            let mut times = Vec::new();
            for _ in 0..15 {
                let begun = std::time::Instant::now();
                self.once(usher, &call)?;
                times.push(begun.elapsed().as_secs_f64() * 1000.0);
            }
            times.sort_by(f64::total_cmp);
            let (middle, most) = (times[7], times[14]);
            println!("  {what}: p50 {middle:.1} ms, at most {most:.1} ms");
            self.report.borrow_mut().value(
                &format!("{what}, with {LARGE} people"),
                Some(middle),
                100.0,
                "ms",
            );
        }
        Ok(())
    }

    /// Creates while there is a target for them that does not answer: the engine must not compete.
    fn creates_beside_a_dead_target(&self, usher: &Server, people: &People) -> anyhow::Result<()> {
        self.apply(&self.database, &format!("{CONNECTION}{DEAD_TARGET}"))?;
        let entrants = [MANY, 1]
            .map(|connections| self.created("create, its target down", usher, people, connections));
        self.measure(entrants.into())?;
        Ok(())
    }

    fn created<'a>(
        &'a self,
        what: &'a str,
        usher: &'a Server,
        people: &People,
        connections: usize,
    ) -> Entrant<'a> {
        let token = people.token.clone();
        let name = what.replace([' ', ','], "");
        self.entrant(what, usher, connections, self.time(), move |turn| {
            let (token, name) = (token.clone(), name.clone());
            Arc::new(move |n| {
                people::create(
                    &token,
                    &format!("{name}{connections}t{turn}n{n:06}@example.com"),
                )
            })
        })
    }

    /// Adds members in turn, and takes them out again before the next turn, so that the size stays.
    fn added<'a>(
        &'a self,
        usher: &'a Server,
        people: &People,
        size: usize,
        group: &str,
        connections: usize,
    ) -> Entrant<'a> {
        let (people, group) = (people.clone(), group.to_owned());
        let (adding, added_to) = (people.clone(), group.clone());
        let mut entrant = self.entrant(
            &format!("member add, group of {size}"),
            usher,
            connections,
            Until::Count(ADDED),
            move |_| {
                let (people, group) = (adding.clone(), added_to.clone());
                Arc::new(move |n| people.add(&group, size + n))
            },
        );
        let mut add = entrant.slice;
        entrant.slice = Box::new(move |turn| {
            let sample = add(turn)?;
            self.once(usher, &people.remove(&group, size..size + ADDED))?;
            Ok(sample)
        });
        entrant
    }

    fn timed<'a>(
        &'a self,
        name: &str,
        server: &'a Server,
        connections: usize,
        make: Make,
    ) -> Entrant<'a> {
        self.entrant(name, server, connections, self.time(), move |_| {
            make.clone()
        })
    }

    fn entrant<'a>(
        &'a self,
        name: &str,
        server: &'a Server,
        connections: usize,
        until: Until,
        make: impl Fn(usize) -> Make + 'a,
    ) -> Entrant<'a> {
        self.entrant_of(name, vec![server], connections, until, make)
    }

    /// Over several servers.
    fn entrant_of<'a>(
        &'a self,
        name: &str,
        servers: Vec<&'a Server>,
        connections: usize,
        until: Until,
        make: impl Fn(usize) -> Make + 'a,
    ) -> Entrant<'a> {
        let cpu = move |servers: &[&Server]| servers.iter().map(|it| it.cpu()).sum();
        Entrant {
            name: name.to_owned(),
            connections,
            slice: Box::new(move |turn| {
                let before: Option<Duration> = cpu(&servers);
                let addresses = servers.iter().map(|it| it.address).collect();
                let load = http::load(addresses, connections, until, make(turn));
                let mut sample = self.runtime.block_on(load)?;
                let after: Option<Duration> = cpu(&servers);
                sample.cpu = after.zip(before).map(|(after, before)| after - before);
                Ok(sample)
            }),
        }
    }

    fn time(&self) -> Until {
        Until::Elapsed(Duration::from_secs_f64(self.options.seconds))
    }

    fn measure(&self, entrants: Vec<Entrant<'_>>) -> anyhow::Result<Vec<Figures>> {
        let figures = contest(self.options.turns, entrants)?;
        for line in &figures {
            println!("{}", figures::row(line));
        }
        std::io::stdout().flush()?;
        Ok(figures)
    }

    fn once(&self, server: &Server, call: &Call) -> anyhow::Result<Vec<u8>> {
        self.runtime.block_on(http::once(server.address, call))
    }

    fn apply(&self, database: &str, configuration: &str) -> anyhow::Result<()> {
        let file = self.folder.path().join("usher.toml");
        std::fs::write(&file, configuration)?;
        let file = file.to_str().context("not UTF-8")?;
        process::run(database, &["apply", file])?;
        Ok(())
    }

    /// Prints the resident memory, and whether it is within a limit in MiB.
    fn resident(&self, server: &Server, when: &str, limit: Option<f64>) {
        let mib = server.resident_kib().map(|kib| kib as f64 / 1024.0);
        if let Some(mib) = mib {
            println!("resident memory, {when}: {mib:.1} MiB");
        }
        if let Some(limit) = limit {
            let what = format!("resident memory, {when}");
            self.report.borrow_mut().value(&what, mib, limit, "MiB");
        }
    }
}

const CONNECTION: &str = r#"
[[connection]]
name = "bench"
kind = "scim"
"#;

const DEAD_TARGET: &str = r#"
[[target]]
name = "dead"
kind = "jira-dc"
base_url = "http://127.0.0.1:9"
token = { env = "PATH" }

[[mapping]]
connection = "bench"
target = "dead"
mode = "live"
"#;

/// How busy the machine was in the last minute, with this program and without.
fn machine_load() -> String {
    std::fs::read_to_string("/proc/loadavg")
        .ok()
        .and_then(|text| text.split(' ').next().map(ToOwned::to_owned))
        .unwrap_or_else(|| "unknown".to_owned())
}
