// Browses a real node with a real Chromium. Run by crates/jsfs/tests/browser.rs, which starts the node and stores the trees:
//   node browse.mjs CHROMIUM PORT FOLDER LINK STATUS [BOOK]
// Public tree at http://pages.localhost:PORT/, private one at http://diary.localhost:PORT/, which LINK opens once, as STATUS does the page of the node's status; with BOOK, a book made by mdBook at
// http://book.localhost:PORT/. Screenshots go to FOLDER. Ends with status 1 and a message at the first thing that is not as it should be.
import assert from "node:assert/strict";
import { join } from "node:path";
import { launch } from "./chromium.mjs";

const [executablePath, port, folder, link, status, book] = process.argv.slice(2);
const at = (name, path = "/") => `http://${name}.localhost:${port}${path}`;

const browser = await launch(executablePath);

async function pagesAndStyleSheets(page) {
  const failed = [];
  page.on("requestfailed", (request) => failed.push(request.url()));
  page.on("response", (response) => response.status() >= 400 && failed.push(`${response.status()} ${response.url()}`));

  const answer = await page.goto(at("pages"));
  assert.equal(answer.status(), 200);
  assert.match(answer.headers()["content-type"], /^text\/html/);
  assert.equal(answer.headers()["x-content-type-options"], "nosniff");
  assert.equal(await page.textContent("h1"), "Herbarium");
  const colour = await page.$eval("h1", (heading) => getComputedStyle(heading).color);
  assert.equal(colour, "rgb(0, 128, 128)", "the style sheet is applied");
  const width = await page.$eval("img", (image) => image.naturalWidth);
  assert.equal(width, 40, "the picture is shown");
  assert.equal(await page.textContent("#script"), "the script ran");
  await page.screenshot({ path: join(folder, "index.png") });

  await page.click("text=Ferns");
  await page.waitForURL(at("pages", "/plants/ferns.html"));
  assert.equal(await page.textContent("h1"), "Ferns");
  assert.equal(await page.$eval("h1", (heading) => getComputedStyle(heading).color), "rgb(0, 128, 128)");
  await page.click("text=Back");
  await page.waitForURL(at("pages"));
  assert.deepEqual(failed.filter((url) => !url.endsWith("/favicon.ico")), []);
}

async function listing(page) {
  await page.goto(at("pages", "/plants/"));
  const names = await page.$$eval("a", (links) => links.map((link) => link.textContent.trim()));
  assert.ok(names.includes("ferns.html"), `the listing names its entries: ${names}`);
  assert.ok(names.some((name) => name.startsWith("<b>bold")), `names are text, not markup: ${names}`);
  assert.equal(await page.$("b"), null, "a name is never markup");
  await page.screenshot({ path: join(folder, "listing.png") });
  await page.click("text=ferns.html");
  await page.waitForURL(at("pages", "/plants/ferns.html"));
}

async function privateTreeShowsNothing(page) {
  for (const path of ["/", "/index.html", "/letters/", "/letters/one.html", "/no-such-thing.html"]) {
    const answer = await page.goto(at("diary", path));
    assert.equal(answer.status(), 404, path);
    assert.ok(!(await page.content()).includes("Dear diary"), path);
  }
  await page.screenshot({ path: join(folder, "private.png") });
}

async function noCredentialIsAmbient(page) {
  await page.goto(at("pages"));
  const seen = await page.evaluate(async (url) => {
    const write = await fetch(`${location.origin}/planted.html`, { method: "PUT", body: "planted" });
    const other = await fetch(url);
    return { write: write.status, other: other.status, cookies: document.cookie };
  }, at("diary", "/letters/one.html"));
  assert.deepEqual(seen, { write: 401, other: 404, cookies: "" });
}

async function aLinkOpensThePrivateTreeForItsOwnPages(page) {
  const answer = await page.goto(link);
  assert.equal(answer.status(), 200);
  assert.equal(page.url(), at("diary"), "no code is left in the address");
  assert.equal(await page.textContent("h1"), "Dear diary");
  const own = await page.evaluate(async () => [(await fetch("/letters/one.html")).status, document.cookie]);
  assert.deepEqual(own, [200, ""], "its pages read, and no script reads the cookie");
  const write = await page.evaluate(async () => (await fetch("/planted.html", { method: "PUT", body: "planted" })).status);
  assert.equal(write, 401, "the cookie writes nothing");
  await page.screenshot({ path: join(folder, "opened.png") });

  await page.goto(at("pages"));
  const seen = await page.evaluate(async (url) => {
    const frame = document.createElement("iframe");
    frame.src = url;
    const loaded = new Promise((resolve) => frame.addEventListener("load", resolve));
    document.body.append(frame);
    await loaded;
    return fetch(url, { credentials: "include" }).then((answer) => answer.status, () => "kept back");
  }, at("diary", "/letters/one.html"));
  assert.ok(seen === 404 || seen === "kept back", `a foreign page reads ${seen}`);
  for (const frame of page.frames()) assert.ok(!(await frame.content()).includes("Dear diary"), "not in a frame either");
  assert.equal((await page.goto(link)).status(), 404, "the link worked once");
}

async function theStatusIsShownToThePersonOnly(page) {
  await page.setViewportSize({ width: 390, height: 844 });
  const answer = await page.goto(status);
  assert.equal(answer.status(), 200);
  const address = page.url();
  assert.ok(address.endsWith("/.jsfs/status"), "no code is left in the address");
  assert.match(await page.textContent("main"), /Running for[^]*Namespaces[^]*Space[^]*Programs/);
  const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth).catch(() => 0);
  assert.ok(overflow <= 0, `the page is ${overflow} pixels wider than a phone`);
  await page.screenshot({ path: join(folder, "status.png"), fullPage: true });

  // What a page in the same origin gets, by fetch, in a frame and in a window.
  await page.goto(new URL("/nothing-here", address).href);
  const seen = await page.evaluate(async (url) => {
    const fetched = await (await fetch(url, { headers: { Accept: "text/html" } })).text();
    const opened = window.open(url);
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    let read = "kept back";
    try { read = opened.document.body.textContent; } catch { /* as it should be */ }
    return { fetched, read };
  }, address);
  assert.ok(!seen.fetched.includes("Running for"), "a script does not fetch it");
  assert.ok(!seen.read.includes("Running for"), "nor read it in a window that it opened");
}

async function absoluteAddressesAreSandboxed(page) {
  const answer = await page.goto(at("diary", "/.pages/index.html"));
  assert.equal(answer.status(), 200);
  assert.match(answer.headers()["content-security-policy"], /sandbox/);
  assert.equal(await page.textContent("#script"), "no script", "a foreign page's scripts do not run in this origin");
}

async function bookIsReadable(page) {
  const answer = await page.goto(at("book"));
  assert.equal(answer.status(), 200);
  assert.match(await page.title(), /Rust Programming Language/);
  await page.waitForSelector("nav a[rel~=next]", { state: "attached" });
  await page.screenshot({ path: join(folder, "book.png") });
  for (let chapter = 0; chapter < 5; chapter += 1) {
    const next = await page.$eval("a[rel~=next]", (link) => link.href);
    const answer = await page.goto(next);
    assert.equal(answer.status(), 200, next);
    assert.ok((await page.textContent("main")).length > 200, `${next} has text`);
  }
  await page.screenshot({ path: join(folder, "chapter.png") });
}

// The links are good for a minute: first of all.
const parts = [aLinkOpensThePrivateTreeForItsOwnPages, theStatusIsShownToThePersonOnly, pagesAndStyleSheets, listing, privateTreeShowsNothing, noCredentialIsAmbient];
parts.push(absoluteAddressesAreSandboxed);
if (book) parts.push(bookIsReadable);
try {
  for (const part of parts) {
    const page = await browser.newPage();
    await part(page);
    await page.close();
    console.log(`${part.name}: ok`);
  }
} finally {
  await browser.close();
}
