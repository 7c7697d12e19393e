/** Building the page, and reading events: what strangers name themselves is never markup. */

import { h, keyed, prose, say, set } from "/assets/dom.js";
import { EventReader } from "/assets/live.js";
import { Plot } from "/assets/plots.js";
import { equal, test, throws } from "./check.js";

const HOSTILE = [
  "<img src=x onerror=window.owned=1>", "\"><script>window.owned=1</script>", "javascript:window.owned=1",
  "';DROP TABLE worker;--", "&lt;b&gt;", "{{7*7}}", "x".repeat(255), "\\x00\\xff",
];

test("writes hostile names as they are", () => {
  for (const name of HOSTILE) {
    const made = h("p", { title: name, "data-name": name }, name, h("b", {}, name));
    say(made.lastChild, name);
    document.body.append(made);
    equal([made.firstChild.data, made.lastChild.textContent, made.title], [name, name, name]);
    equal([made.childElementCount, made.lastChild.childElementCount], [1, 0]);
    made.remove();
  }
  equal(window.owned, undefined);
});

test("sets commands as code, and nothing else as anything", () => {
  const text = h("p");
  prose(text, "run `a <b>` now");
  equal([text.textContent, text.querySelector("code").textContent, text.childElementCount], ["run a <b> now", "a <b>", 1]);
  prose(text, "one ` alone <i>");
  equal([text.textContent, text.childElementCount], ["one ` alone <i>", 0]);
});

test("rejects attributes that would be scripts or styles", () => {
  for (const name of ["onclick", "ONERROR", "style", "srcdoc"]) {
    throws(() => set(document.createElement("p"), name, "x"));
    throws(() => h("p", { [name]: "x" }));
  }
});

test("keeps elements, their order and the focus", () => {
  const list = h("ul");
  document.body.append(list);
  const show = (...names) =>
    keyed(list, names, (name) => name, () => h("li", { tabindex: "0" }), (element, name) => say(element, name));
  show("a", "b", "c");
  const [a, b] = list.children;
  b.focus();
  show("c", "b", "a", "d");
  equal([...list.children].map((element) => element.textContent), ["c", "b", "a", "d"]);
  equal([list.children[2] === a, list.children[1] === b, document.activeElement === b], [true, true, true]);
  show("__proto__", "b");
  equal(list.childElementCount, 2);
  show();
  equal(list.childElementCount, 0);
  list.remove();
});

test("reads events however they are cut", () => {
  const stream = ": hello\r\n\r\nevent: summary\r\ndata: {\"a\":\ndata: 1}\n\nid: 3\ndata:x\r\rretry: 1\n\nevent: y\n\n";
  const want = [{ name: "summary", data: "{\"a\":\n1}" }, { name: "message", data: "x" }];
  for (let size = 1; size <= stream.length; size += 1) {
    const reader = new EventReader();
    const got = [];
    for (let at = 0; at < stream.length; at += size) {
      got.push(...reader.push(stream.slice(at, at + size)));
    }
    equal(got, want);
  }
});

test("rejects an event without an end", () => {
  const reader = new EventReader();
  throws(() => {
    for (let n = 0; n < 10; n += 1) {
      reader.push("x".repeat(1 << 20));
    }
  });
});

test("draws gaps, single points, nothing, and two thousand points", () => {
  const plot = new Plot("test", "Test", [
    { label: "one", write: String, ink: 0, area: true }, { label: "two", write: String, ink: 1, scale: "z" },
  ], "test");
  document.body.append(plot.element);
  const draw = (t, ...values) => plot.update({ t, values, from: 0, to: 100, stepMs: 10, title: "A test" });
  draw([], [], []);
  draw([0, 10, 20], [null, 5, null], [null, null, null]);
  equal(plot.element.querySelector(".value").textContent, "5");
  const words = plot.element.querySelector(".unseen").textContent;
  equal(words, "A test. one: now 5, mean 5, lowest 5, highest 5; two: –. Without data: 2 stretches of time.");
  const many = Array.from({ length: 2_000 }, (_, n) => n);
  draw(many.map((n) => n / 20), many, many);
  equal(plot.element.querySelectorAll("canvas").length, 1);
  const table = plot.element.querySelector("details");
  table.open = true;
  return new Promise((done) => setTimeout(done, 50)).then(() => {
    equal(table.querySelectorAll("tbody tr").length <= 48, true);
    equal(table.querySelector("tbody td:nth-child(2)").textContent, "1999");
    plot.element.remove();
  });
});
