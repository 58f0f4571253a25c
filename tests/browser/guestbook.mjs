// Two people with browsers of their own at the guestbook of examples/. Run by crates/jsfs/tests/browser.rs, which starts the node and stores the page:
//   node guestbook.mjs CHROMIUM PORT FOLDER
// When it has printed `restart`, the test restarts the node and says so on standard input. Screenshots go to FOLDER.
import assert from "node:assert/strict";
import { once } from "node:events";
import { join } from "node:path";
import { launch } from "./chromium.mjs";

const [executablePath, port, folder] = process.argv.slice(2);
const url = `http://guests.localhost:${port}/`;
const browser = await launch(executablePath);

async function visitor() {
  const context = await browser.newContext();
  const page = await context.newPage();
  const errors = [];
  page.on("pageerror", (error) => errors.push(String(error)));
  await page.goto(url);
  await page.waitForFunction(() => document.querySelector("#state").textContent === "");
  return { page, errors };
}

async function sign({ page }, name, text) {
  await page.fill("input[name=name]", name);
  await page.fill("textarea", text);
  await page.click("button");
}

const entries = ({ page }) => page.$$eval("li p", (texts) => texts.map((text) => text.textContent));

async function sees(visitor, ...wanted) {
  const { page } = visitor;
  const same = (wanted) => {
    const there = [...document.querySelectorAll("li p")].map((text) => text.textContent);
    return JSON.stringify(there) === JSON.stringify(wanted);
  };
  await page.waitForFunction(same, wanted, { timeout: 20_000 }).catch(async () => {
    assert.deepEqual(await entries(visitor), wanted);
  });
}

try {
  const one = await visitor();
  const two = await visitor();
  await sign(one, "First", "Hello from one browser");
  await sees(two, "Hello from one browser");
  console.log("twoBrowsersSeeEachOther: ok");

  await sign(two, "<b>Second</b>", "<img src=x onerror=alert(1)> and 'quotes'");
  await sees(one, "<img src=x onerror=alert(1)> and 'quotes'", "Hello from one browser");
  assert.equal(await one.page.$("li b, li img"), null, "an entry is text, never markup");
  console.log("entriesAreText: ok");

  const late = await visitor();
  await sees(late, "<img src=x onerror=alert(1)> and 'quotes'", "Hello from one browser");
  console.log("whoComesLaterSeesWhatWasThere: ok");

  const overwritten = await two.page.evaluate(async () => {
    const [entry] = (await (await fetch("/entries/?limit=1")).json()).entries;
    const put = await fetch(`/entries/${encodeURIComponent(entry.name)}`, { method: "PUT", body: "mine" });
    const page = await fetch("/index.html", { method: "PUT", body: "mine" });
    return [put.status, page.status];
  });
  assert.deepEqual(overwritten, [401, 401], "nobody changes the entries of others, or the page");
  console.log("nobodyChangesWhatIsThere: ok");

  console.log("restart");
  await once(process.stdin, "data");
  await sign(one, "First", "After the restart");
  for (const visitor of [one, two, late]) {
    await sees(visitor, "After the restart", "<img src=x onerror=alert(1)> and 'quotes'", "Hello from one browser");
    assert.deepEqual(visitor.errors, []);
  }
  console.log("pagesGoOnAfterARestart: ok");
  await one.page.screenshot({ path: join(folder, "guestbook.png") });
} finally {
  await browser.close();
  process.stdin.destroy();
}
