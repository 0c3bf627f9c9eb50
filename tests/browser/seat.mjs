// The seat in a real browser: `node seat.mjs SCENARIO...` against the server at USHER_URL.
//
// Scenarios share the browser, not their pages. Each prints its name when it is through; the first thing that is
// not as expected ends the run with a picture of the page beside it.
import assert from "node:assert/strict";
import fs from "node:fs";
import { createRequire } from "node:module";

// The packages are not beside this file: they are installed where build results are.
const require = createRequire(process.env.USHER_BROWSER + "/");
const { chromium } = require("playwright-core");
const axe = fs.readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

const base = process.env.USHER_URL;
const password = "correct horse battery";
const pictures = process.env.USHER_PICTURES;
const heaviest = 150_000;

const browser = await chromium.launch({
  executablePath: process.env.USHER_CHROMIUM,
  args: ["--no-sandbox", "--disable-dev-shm-usage"],
});

let here;
// Everything that is wrong with pages, to be told at once.
let wrong = [];

// A browser of somebody, that never leaves the server and never loads much.
async function open(name, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
  const page = await context.newPage();
  here = page;
  page.on("request", (request) => {
    assert.ok(request.url().startsWith(base + "/") || request.url().startsWith("blob:"), `a request went to ${request.url()}`);
  });
  page.on("pageerror", (error) => assert.fail(`script on ${page.url()}: ${error}`));
  page.on("console", (message) => {
    // What the policy forbids is told on the console.
    assert.ok(!/Content Security Policy/.test(message.text()), message.text());
  });
  page.on("dialog", (dialog) => dialog.accept());
  if (name) await signIn(page, name);
  return page;
}

async function signIn(page, name) {
  await page.goto(base + "/sign-in");
  await page.getByLabel("Name").fill(name);
  await page.getByLabel("Password").fill(password);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("heading", { level: 1 }).waitFor();
  assert.ok(!page.url().includes("/sign-in"), `${name} is not signed in`);
}

const see = (page, text) => page.getByText(text).first().waitFor({ timeout: 15_000 });
const press = (page, name) => page.getByRole("button", { name, exact: true }).first().click();

// Opens a page again and again until it says something: what the engine does takes a moment.
async function until(page, path, text) {
  for (let n = 0; n < 80; n += 1) {
    await page.goto(base + path);
    if ((await page.locator("main").innerText()).includes(text)) return;
    await page.waitForTimeout(250);
  }
  assert.fail(`${path} never said ${text}`);
}

// Sends what an identity provider sends.
async function scim(token, method, path, body) {
  const answer = await fetch(base + "/scim/v2" + path, {
    method,
    headers: { Authorization: `Bearer ${token}`, "Content-Type": "application/scim+json" },
    body: body && JSON.stringify(body),
  });
  assert.ok(answer.ok, `${method} ${path}: ${answer.status}`);
  return answer.status === 204 ? null : answer.json();
}

const user = (name, display) => ({
  schemas: ["urn:ietf:params:scim:schemas:core:2.0:User"],
  userName: name,
  displayName: display,
  active: true,
  emails: [{ value: name, type: "work", primary: true }],
});

const scenarios = {
  // From an empty database to a person in Jira, by nothing but the pages and what the provider sends.
  async wizard() {
    const page = await open();
    await page.goto(base + "/");
    await page.goto(`${base}/setup?code=${process.env.USHER_CODE}`);
    await page.getByLabel("Your name").fill("ada");
    await page.getByLabel("Password").fill(password);
    await press(page, "Make the administrator");
    await page.getByRole("heading", { name: "First steps" }).waitFor();

    await page.getByLabel("Address").fill(process.env.USHER_JIRA);
    await page.getByLabel("Token or password").fill("wrong");
    await press(page, "Save");
    await press(page, "Test");
    await see(page, "cannot be used");
    await page.getByRole("link", { name: "Change it" }).click();
    await page.getByLabel("Token or password").fill("secret");
    await press(page, "Save");
    await press(page, "Test");
    await see(page, "works");
    const shown = await page.content();
    assert.ok(!shown.includes('value="secret"'), "a secret is shown again");

    await page.goto(base + "/start");
    await press(page, "Save");
    await press(page, "Make the token");
    const token = await page.getByLabel("Access token").inputValue();
    await see(page, "waiting for the first request");
    await scim(token, "GET", "/ServiceProviderConfig");
    await see(page, "a request has arrived");
    const made = [];
    for (const [name, display] of [["ada@example.com", "Ada Byron"], ["grace@example.com", "Grace Hopper"]]) {
      made.push(await scim(token, "POST", "/Users", user(name, display)));
    }
    await see(page, "people have come");

    await page.goto(base + "/start");
    await press(page, "Make it, in shadow mode");
    await see(page, "ada@example.com");
    await page.getByText(/create .*ada@example.com/).first().waitFor();
    await press(page, "Look at everybody");
    const report = page.locator("#matches");
    await report.waitFor();
    assert.match(await report.innerText(), /New\s+2/);

    await page.getByLabel("Live for").fill("ada@example.com");
    await press(page, "Go live for these");
    await page.getByRole("heading", { name: /6\. Live for ten on/ }).waitFor();
    await until(page, `/people/${made[0].id}`, "create_user");
    // The other one is not there yet.
    await page.goto(`${base}/people/${made[1].id}`);
    await see(page, "no account");
    await page.goto(base + "/start");
    await press(page, "Go live for all");
    await see(page, "Everything that differs is brought in step");
    await until(page, `/people/${made[1].id}`, "create_user");
    await page.context().close();
  },

  // A connection typed in, tried, and read with progress.
  async synchronize() {
    const page = await open("ada");
    await page.goto(base + "/connections/corp");
    await page.getByLabel("Base URL of the domain").fill(process.env.USHER_DOMAIN);
    await page.getByLabel("Client id").fill("usher-client");
    await page.getByLabel("Client secret").fill("wrong");
    await page.getByLabel("Requests a second").fill("100");
    await press(page, "Save");
    await see(page, "Saved.");
    await press(page, "Test");
    await see(page, "refused");
    await page.getByLabel("Client secret").fill("usher-secret");
    await press(page, "Save");
    await see(page, "Saved.");
    await press(page, "Test");
    await see(page, "in the domain");
    await press(page, "Synchronize");
    await page.locator("#run").waitFor();
    // It is under way, and its page says so by itself until it is done.
    const progress = page.locator("#run progress, #run .busy");
    await progress.first().waitFor({ timeout: 15_000 });
    await page.locator("#run .tag.good").waitFor({ timeout: 60_000 });
    await see(page, "users read");
    const [download] = await Promise.all([
      page.waitForEvent("download"),
      page.getByRole("link", { name: "CSV" }).click(),
    ]);
    const csv = fs.readFileSync(await download.path(), "utf8");
    assert.match(csv.split("\r\n")[0], /"subject","id","change"/);
    assert.ok(csv.includes("reader1@example.com"), csv.slice(0, 500));
    await page.goto(base + "/runs");
    await see(page, "full");
    await page.context().close();
  },

  // The domain signs somebody in who was made for it: it is another site, from which no strict cookie comes along.
  async domain() {
    const page = await open("ada");
    await page.goto(base + "/settings");
    const form = page.locator('form[action="/settings/administrators"]');
    await form.getByLabel("Name", { exact: true }).fill("grace");
    await form.getByLabel("Role").selectOption("operator");
    await form.getByLabel("Domain that signs in").selectOption("corp");
    await form.getByLabel("Login name there").fill("reader1@example.com");
    await form.getByRole("button", { name: "Make" }).click();
    await see(page, "reader1@example.com in corp");
    await page.context().close();

    const context = await browser.newContext();
    const guest = (here = await context.newPage());
    const sites = new Set();
    guest.on("request", (request) => sites.add(new URL(request.url()).origin));
    await guest.goto(base + "/held");
    await guest.getByRole("link", { name: "Sign in with corp" }).click();
    await guest.getByRole("heading", { name: "Held" }).waitFor();
    await see(guest, "grace (operator)");
    assert.ok(guest.url().endsWith("/held"), guest.url());
    assert.deepEqual([...sites].sort(), [base, process.env.USHER_DOMAIN].sort());
    await context.close();
  },

  // One person is held, listed, and let go on.
  async hold() {
    const page = await open("operator");
    await page.goto(base + "/people?q=person47");
    await page.getByRole("link", { name: "person47@example.com" }).click();
    await page.locator("summary", { hasText: "Hold" }).click();
    await page.locator('form[action$="/pause"]').getByLabel("Reason").last().fill("an inquiry");
    await press(page, "Hold this person");
    await see(page, "by operator (an inquiry)");
    await page.goto(base + "/");
    await page.getByRole("link", { name: "1 person" }).click();
    await page.getByRole("link", { name: "person47@example.com" }).click();
    await press(page, "Resume");
    await see(page, "It goes on now");
    await page.goto(base + "/people?paused=true");
    await see(page, "Nobody is paused");
    await page.context().close();
  },

  // A mass change is held; one of it is released, the rest is discarded.
  async held() {
    const page = await open("ada");
    await until(page, "/held", "Release all");
    const rows = page.locator("tbody tr");
    const before = await rows.count();
    assert.ok(before > 5, `${before} rows`);
    await see(page, "push from corp");
    await rows.first().getByRole("button", { name: /^Release/ }).click();
    await see(page, "1 removals are released");
    assert.equal(await rows.count(), before - 1);
    await page.getByRole("button", { name: /^Discard all/ }).click();
    await see(page, `${before - 1} removals are discarded`);
    await see(page, "Nothing is held.");
    await page.goto(base + "/audit?operation=deactivate");
    await see(page, "person");
    await page.context().close();
  },

  // A rule is changed with a look at what it does first, and taken back.
  async mapping() {
    const page = await open("ada");
    await page.goto(base + "/mappings/corp/jira");
    await page.getByLabel("For whom").fill("person45@example.com");
    await page.getByLabel("Display name").fill("displayName | upper");
    // Nobody pressed a button.
    await page.locator("#preview").getByText("PERSON NUMBER 45").waitFor({ timeout: 15_000 });
    await page.getByLabel("Display name").fill("displayName | nosuchfilter");
    await page.locator("#preview").getByText("cannot be used").waitFor({ timeout: 15_000 });
    await page.getByLabel("Display name").fill("displayName | upper");
    await press(page, "How many people does this change?");
    await page.locator("#trial").waitFor({ timeout: 30_000 });
    assert.match(await page.locator("#trial").innerText(), /\d+ of \d+ people change/);
    await press(page, "Save");
    await see(page, "Saved.");
    assert.equal(await page.getByLabel("Display name").inputValue(), "displayName | upper");

    await page.goto(base + "/configuration");
    const versions = page.locator("tbody tr td:first-child a");
    await versions.nth(1).click();
    await see(page, "displayName | upper");
    await page.getByRole("button", { name: /^Roll back to version/ }).click();
    await see(page, "Saved as version");
    await page.goto(base + "/mappings/corp/jira");
    assert.notEqual(await page.getByLabel("Display name").inputValue(), "displayName | upper");
    await page.context().close();
  },

  // Whoever may only read sees no buttons, and is refused without them.
  async roles() {
    for (const name of ["auditor", "operator"]) {
      const page = await open(name);
      for (const path of ["/", "/connections/corp", "/targets/jira", "/mappings/corp/jira", "/configuration"]) {
        await page.goto(base + path);
        const save = page.getByRole("button", { name: "Save", exact: true });
        assert.equal(await save.count(), 0, `${name} may save on ${path}`);
      }
      await page.goto(base + "/connections/corp");
      const test = page.getByRole("button", { name: "Test", exact: true });
      assert.equal(await test.count(), name === "operator" ? 1 : 0);
      const status = await page.evaluate(async () => (await fetch("/targets", { method: "POST", body: new URLSearchParams({ name: "x" }) })).status);
      assert.equal(status, 403);
      await page.goto(base + "/settings");
      await see(page, "ask an administrator");
      await page.context().close();
    }
  },

  // Nothing needs a pointer.
  async keyboard() {
    const page = await open();
    await page.goto(base + "/sign-in");
    // The page puts the focus there by itself.
    await page.locator("#name:focus").waitFor();
    await page.keyboard.type("ada");
    await page.keyboard.press("Tab");
    await page.keyboard.type(password);
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: "Dashboard" }).waitFor();
    await page.keyboard.press("Tab");
    assert.equal(await focused(page), "Skip to the content");
    await page.keyboard.press("Enter");
    assert.ok(page.url().endsWith("#main"));
    await page.reload();
    await reach(page, "People");
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: "People" }).waitFor();
    await reach(page, "Name or e-mail address");
    await page.keyboard.type("person2@");
    await page.keyboard.press("Enter");
    await page.waitForURL(/q=person2/);
    await reach(page, "person2@example.com");
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: "person2@example.com" }).waitFor();
    await reach(page, "Synchronize now");
    await page.keyboard.press("Enter");
    await see(page, "Looked at again now");
    await reach(page, "Pause all");
    await page.keyboard.press("Enter");
    await reach(page, "Pause all targets");
    await page.keyboard.press("Enter");
    await see(page, "paused by ada");
    await reach(page, "Resume all");
    await page.keyboard.press("Enter");
    await page.getByText("paused by ada").waitFor({ state: "detached" });
    await page.context().close();
  },

  // Every page: no violation of axe, light and dark; nothing wider than a phone; not much to load.
  async pages() {
    wrong = [];
    for (const [width, colorScheme] of [[1280, "light"], [1280, "dark"], [390, "light"], [390, "dark"]]) {
      const page = await open("ada", { viewport: { width, height: 800 }, colorScheme, isMobile: width < 500, hasTouch: width < 500 });
      const person = await page.goto(base + "/people").then(() => page.locator("tbody a").first().getAttribute("href"));
      const group = await page.goto(base + "/groups").then(() => page.locator("tbody a").first().getAttribute("href"));
      const run = await page.goto(base + "/runs").then(() => page.locator("tbody a").first().getAttribute("href"));
      const version = await page.goto(base + "/configuration").then(() => page.locator("tbody a").last().getAttribute("href"));
      const paths = ["/", "/start", "/people", person, "/groups", group, "/held", "/drift", "/undo", "/undo?since=2020-01-01", "/failed", "/runs", run, "/audit", "/connections",
        "/connections/corp", "/connections/new", "/targets", "/targets/jira", "/targets/new", "/mappings/corp/jira",
        "/configuration", version, "/settings", "/help", "/help/idcs", "/help/pull", "/help/configuration", "/help/settings",
        "/help/brakes", "/help/operation", "/help/seat"];
      for (const path of paths) {
        await check(page, path, width, colorScheme);
      }
      await page.context().close();
      const stranger = await open(null, { viewport: { width, height: 800 }, colorScheme });
      await check(stranger, "/sign-in", width, colorScheme);
      await stranger.context().close();
    }
    assert.deepEqual(wrong, []);
  },
};

async function check(page, path, width, colorScheme) {
  let weight = 0;
  const weigh = async (response) => {
    const sizes = await response.request().sizes().catch(() => null);
    weight += sizes ? sizes.responseBodySize : 0;
  };
  page.on("response", weigh);
  await page.goto(base + path, { waitUntil: "load" });
  page.off("response", weigh);
  assert.ok(weight < heaviest, `${path} weighs ${weight} bytes`);
  const tooWide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  if (tooWide !== 0) wrong.push(`${path} is ${tooWide} px wider than ${width}`);
  // Evaluated, not added to the page: its policy allows no scripts but its own.
  await page.evaluate(axe);
  const found = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
  const violations = found.violations.map((v) => `${v.id}: ${v.help}: ${v.nodes.map((n) => n.html).slice(0, 3).join(" ")}`);
  if (violations.length > 0) wrong.push(`${path} at ${width} px, ${colorScheme}: ${violations.join("; ")}`);
  if (pictures) {
    const name = path.split("?")[0].replace(/[0-9a-f]{32}/g, "one").replace(/\W+/g, "-");
    await page.screenshot({ path: `${pictures}/${name || "-"}-${width}-${colorScheme}.png`, fullPage: width > 500 });
  }
}

function focused(page) {
  return page.evaluate(() => {
    const element = document.activeElement;
    const label = element.labels && element.labels[0];
    return (label ? label.innerText : element.innerText || "").replace(/\s+/g, " ").trim();
  });
}

// Moves the focus on until it is on what has this name.
async function reach(page, name) {
  for (let n = 0; n < 150; n += 1) {
    const text = await focused(page);
    if (text === name || text.startsWith(name + " ")) return;
    await page.keyboard.press("Tab");
  }
  assert.fail(`the focus never came to ${name}`);
}

let failed = false;
try {
  for (const name of process.argv.slice(2)) {
    await scenarios[name]();
    console.log(`${name}: through`);
  }
} catch (error) {
  failed = true;
  console.error(error);
  if (here && !here.isClosed()) {
    console.error(`on ${here.url()}`);
    console.error((await here.locator("body").innerText().catch(() => "")).slice(0, 3000));
  }
} finally {
  await browser.close();
}
process.exit(failed ? 1 : 0);
