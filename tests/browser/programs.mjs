// People with browsers of their own at the chat and the counter of examples/. Run by crates/jsfs/tests/browser.rs, which starts the node and
// brings both there: node programs.mjs CHROMIUM PORT FOLDER. Screenshots go to FOLDER.
import assert from "node:assert/strict";
import { join } from "node:path";
import { launch } from "./chromium.mjs";

const [executablePath, port, folder] = process.argv.slice(2);
const browser = await launch(executablePath);
const errors = [];

async function visitor(place) {
  const context = await browser.newContext();
  const page = await context.newPage();
  page.on("pageerror", (error) => errors.push(String(error)));
  await page.goto(`http://${place}.localhost:${port}/`);
  return page;
}

const shows = (page, selector, wanted) =>
  page.waitForFunction(
    ([selector, wanted]) => document.querySelector(selector)?.textContent === wanted,
    [selector, wanted],
    { timeout: 20_000 },
  );

async function say(page, name, text) {
  await page.fill("input[name=name]", name);
  await page.fill("input[name=text]", text);
  await page.click("button");
}

try {
  const one = await visitor("chat");
  const two = await visitor("chat");
  for (const page of [one, two]) await shows(page, "#state", "");
  await say(one, "First", "Hello <b>there</b>");
  await shows(two, "li", "FirstHello <b>there</b>");
  await say(two, "Second", "Good morning");
  await shows(one, "li", "SecondGood morning");
  const late = await visitor("chat");
  await shows(late, "li:last-child", "FirstHello <b>there</b>");
  console.log("everybodyHearsWhatIsSaid: ok");
  await one.screenshot({ path: join(folder, "chat.png") });

  const counter = await visitor("counter");
  const other = await visitor("counter");
  for (const page of [counter, other]) await shows(page, "#count", "0");
  for (const wanted of ["1", "2", "3"]) {
    await counter.click("button");
    await shows(counter, "#count", wanted);
  }
  await shows(other, "#count", "3");
  const statuses = await Promise.all(
    Array.from({ length: 10 }, (_, at) =>
      (at % 2 ? counter : other).evaluate(async () => (await fetch("counter.js", { method: "POST" })).status),
    ),
  );
  // Who met too many others is told so, and is not counted.
  const counted = 3 + statuses.filter((status) => status === 200).length;
  assert.ok(statuses.every((status) => status === 200 || status === 503), String(statuses));
  const { count } = await other.evaluate(async () => (await fetch("counter.js")).json());
  assert.equal(count, counted);
  await shows(other, "#count", String(counted));
  console.log("noCountIsLost: ok");
  await counter.screenshot({ path: join(folder, "counter.png") });
  assert.deepEqual(errors, []);
} finally {
  await browser.close();
}
