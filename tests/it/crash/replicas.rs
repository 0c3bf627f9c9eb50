//! Two servers on one PostgreSQL into a product of each kind: either is killed at any moment, and one is cut off from
//! the database now and then, as by a switch that fails.
//!
//! `USHER_KILLS` asks for more of it than the usual few.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use usher::store::{runs, settings};
use usher_emulators::Recorded;
use usher_emulators::idcs::Person as DomainPerson;
use usher_emulators::idcs_domain::{DomainOptions, IdcsDomain};

use super::products::{MAPPING, Products, borrowed, is_as_pushed, push, pushed, settle};
use super::*;

const KILLS: u64 = 8;
/// One in so many times a server is cut off from the database instead of killed.
const CUTS: usize = 4;
/// How often the domain is read.
const SCHEDULE_S: i64 = 60;

/// A way to the database that can be cut: nothing passes any more, and nothing says so.
struct Cable {
    port: u16,
    is_cut: Arc<AtomicBool>,
    ends: Arc<Mutex<Vec<TcpStream>>>,
}

impl Cable {
    fn to(upstream: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let cable = Self {
            port: listener.local_addr().unwrap().port(),
            is_cut: Arc::default(),
            ends: Arc::default(),
        };
        let (is_cut, ends) = (cable.is_cut.clone(), cable.ends.clone());
        std::thread::spawn(move || {
            for near in listener.incoming() {
                let Ok(near) = near else { return };
                let Ok(far) = TcpStream::connect(("127.0.0.1", upstream)) else {
                    continue;
                };
                let mut ends = ends.lock().unwrap_or_else(PoisonError::into_inner);
                for (from, to) in [(&near, &far), (&far, &near)] {
                    ends.push(from.try_clone().unwrap());
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    let is_cut = is_cut.clone();
                    std::thread::spawn(move || pass(from, to, &is_cut));
                }
            }
        });
        cable
    }

    /// What was under way never arrives.
    fn cut(&self) {
        self.is_cut.store(true, Ordering::SeqCst);
    }

    /// New connections pass again; the old ones are reset.
    fn mend(&self) {
        let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        for end in ends.drain(..) {
            let _ = end.shutdown(Shutdown::Both);
        }
        self.is_cut.store(false, Ordering::SeqCst);
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, is_cut: &AtomicBool) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(read) = from.read(&mut buffer)
        && read > 0
    {
        // Swallowed, as by a cable that leads nowhere.
        if !is_cut.load(Ordering::SeqCst) && to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}

fn port_of(url: &str) -> u16 {
    let (_, after) = url.rsplit_once(':').unwrap();
    after.split('/').next().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_lose_nothing_at_five_products_killed_and_cut_off() {
    let Some(database) = postgres() else { return };
    let seed = number_of("USHER_TEST_SEED").unwrap_or_else(|| rand::rng().random());
    let kills = number_of("USHER_KILLS").unwrap_or(KILLS);
    eprintln!("two servers, five products: USHER_TEST_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let products = Products::start(0);
    let domain = IdcsDomain::start(DomainOptions::default()).unwrap();
    domain.add_user(&DomainPerson::new("ada@example.com", "Ada", "Test"));
    let read = format!(
        "[[connection]]\nname = \"read\"\nkind = \"oracle-idcs\"\nbase_url = \"{}\"\nclient_id = \"usher-client\"\n\
         client_secret = {{ env = \"IDCS_SECRET\" }}\nschedule = \"{SCHEDULE_S}s\"\n",
        domain.url()
    );
    let limits = "timeout = \"1s\"\nconcurrency = 8";
    apply(
        &database,
        &(products.configuration(|_| limits.to_owned(), MAPPING) + &read),
    );
    let token = Process::run(&database, &["token", "create", "corp"]);

    let port = port_of(&database.text);
    let cable = Cable::to(port);
    let through = database
        .text
        .replace(&format!(":{port}/"), &format!(":{}/", cable.port));
    let environment = |which: usize| {
        let mut all = products.environment();
        all.push(("IDCS_SECRET".to_owned(), "usher-client-secret".to_owned()));
        if which == 1 {
            all.push(("USHER_DATABASE_URL".to_owned(), through.clone()));
        }
        all
    };
    let ports = [free_port(), free_port()];
    let serve = async |which: usize| {
        let all = environment(which);
        Process::serve(&database, ports[which], &borrowed(&all)).await
    };
    let mut servers = vec![serve(0).await, serve(1).await];

    let stop = Arc::new(AtomicBool::new(false));
    let acknowledged = Arc::new(AtomicUsize::new(0));
    let client = Client::impatient(&ports, token.trim(), acknowledged.clone());
    let shared = client
        .create("/Groups", &group("jira-all"), "displayName")
        .await;
    let pushers = push(seed, &client, &shared, &stop);
    let (mut cuts, mut longest) = (0, Duration::ZERO);
    let mut moved = (requests(&products), Instant::now());
    for _ in 0..kills {
        // Whatever is done meanwhile counts as progress: a request at any of the products.
        let until = Instant::now() + Duration::from_millis(random.random_range(1..700));
        while Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(20)).await;
            let now = requests(&products);
            if now != moved.0 {
                longest = longest.max(moved.1.elapsed());
                moved = (now, Instant::now());
            }
        }
        if random.random_range(0..CUTS) == 0 {
            cuts += 1;
            cable.cut();
            // Longer than a lease: the other one takes over what this one has begun.
            tokio::time::sleep(Duration::from_millis(random.random_range(100..4000))).await;
            cable.mend();
        }
        let which = random.random_range(0..2);
        servers.swap_remove(which).kill();
        tokio::time::sleep(Duration::from_millis(random.random_range(0..300))).await;
        servers.push(serve(which).await);
        if which == 0 {
            servers.swap(0, 1);
        }
    }
    stop.store(true, Ordering::SeqCst);
    let people = pushed(pushers, &servers[0]).await;
    eprintln!(
        "{kills} kills, {cuts} cuts, {} acknowledged requests; the longest wait for an answer {} ms, without any \
         request to a product {} ms",
        acknowledged.load(Ordering::SeqCst),
        client.longest_ms.load(Ordering::SeqCst),
        longest.as_millis()
    );
    let store = database.open();
    settle(seed, &store, |_| true).await;
    for person in people.values() {
        let user = client.get(&format!("/Users/{}", person.id)).await;
        assert_eq!(user["active"], person.active, "seed {seed}: {user}");
        assert_eq!(
            user["displayName"], person.display_name,
            "seed {seed}: {user}"
        );
    }
    for product in &products.all {
        is_as_pushed(seed, product, &people);
    }

    // With these rules every account is read, so that the comparison is with the products, not with the ledger. At
    // first they also take away what products gave of their own accord.
    let strict = |more: &str| {
        let lines = format!("create_missing = true\nkeep_existing = false\n{more}");
        let mapping = MAPPING.replace("create_missing = true", &lines);
        apply(
            &database,
            &(products.configuration(|_| limits.to_owned(), &mapping) + &read),
        );
    };
    strict("");
    settle(seed, &store, |_| true).await;
    for product in &products.all {
        product.server().clear_requests();
    }
    strict("deny = [\"nobody\"]");
    settle(seed, &store, |_| true).await;
    for product in &products.all {
        let (name, seen) = (product.name(), product.server().requests());
        let writes: Vec<&Recorded> = seen.iter().filter(|it| it.is_write()).collect();
        assert!(writes.is_empty(), "seed {seed}: {name}: {writes:#?}");
        assert!(!seen.is_empty(), "seed {seed}: {name} was not looked at");
    }

    // Each moment of the schedule once, whoever saw it.
    let all = store
        .read(|conn| -> Result<_, store::Error> {
            let configuration = settings::load(conn)?;
            let mut connections = configuration.connections.into_iter();
            let read = connections.find(|it| it.settings.name == "read").unwrap();
            runs::list(conn, Some(&read.id), None, 1000)
        })
        .await
        .unwrap();
    let mut begun: Vec<i64> = all.iter().map(|run| run.started_at).collect();
    begun.sort_unstable();
    assert!(!begun.is_empty(), "seed {seed}: the schedule was never run");
    for pair in begun.windows(2) {
        let apart = (pair[1] - pair[0]) / 1_000_000;
        assert!(
            apart >= SCHEDULE_S - 5,
            "seed {seed}: two runs within {apart} s: {all:#?}"
        );
    }
    for server in servers {
        assert!(server.terminate().success());
    }
}

fn requests(products: &Products) -> usize {
    let all = products.all.iter();
    all.map(|product| product.server().requests().len()).sum()
}
