/**
 * Building and renewing parts of the page. Whatever comes from the API (names of workers and the
 * like are chosen by strangers) becomes text here, never markup: nothing in this directory parses
 * HTML.
 */

/** The element of that id; it must be in the page. */
export function byId(id) {
  const found = document.getElementById(id);
  if (found === null) {
    throw new Error(`the page has no #${id}`);
  }
  return found;
}

/**
 * An element with attributes and children. `on` holds listeners; an attribute that is false, null
 * or undefined is left out, and true is written as "". Children are elements or texts.
 */
export function h(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "on") {
      for (const [event, listener] of Object.entries(value)) {
        made.addEventListener(event, listener);
      }
    } else {
      set(made, name, value);
    }
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return made;
}

/** Writes an attribute if it is another one. Scripts and styles can't be attributes. */
export function set(element, name, value) {
  if (/^on/i.test(name) || /^(style|srcdoc)$/i.test(name)) {
    throw new Error(`the attribute ${name} is not for data`);
  }
  if (value === false || value === null || value === undefined) {
    element.removeAttribute(name);
    return;
  }
  const text = value === true ? "" : String(value);
  if (element.getAttribute(name) !== text) {
    element.setAttribute(name, text);
  }
}

/** Writes a text if it is another one: what did not change is not announced, and stays selected. */
export function say(element, text) {
  const wanted = String(text);
  if (element.textContent !== wanted) {
    element.textContent = wanted;
  }
}

/** `say` for sentences: what stands between backticks is a command, and is set as one. */
export function prose(element, text) {
  const wanted = String(text);
  if (element.prose !== wanted) {
    element.prose = wanted;
    const parts = wanted.split("`");
    // One without its partner is just a sign.
    const whole = parts.length % 2 === 1;
    const made = (part, index) => (index % 2 === 1 ? h("code", {}, part) : part);
    element.replaceChildren(...(whole ? parts.map(made) : [wanted]));
  }
}

/** Shows an element, or doesn't. */
export function show(element, shown) {
  if (element.hidden === shown) {
    element.hidden = !shown;
  }
}

/**
 * Makes the children of `parent` those of `items`, in their order. An element that had the same
 * key stays itself (and keeps the focus), is renewed by `update(element, item)`, and moved only if
 * the order changed; others come from `create(item)` first.
 */
export function keyed(parent, items, key, create, update) {
  const before = new Map();
  for (const child of parent.children) {
    before.set(child.dataset.key, child);
  }
  const focused = document.activeElement;
  const after = items.map((item) => {
    const name = String(key(item));
    let element = before.get(name);
    before.delete(name);
    if (element === undefined) {
      element = create(item);
      element.dataset.key = name;
    }
    update(element, item);
    return element;
  });
  const same =
    parent.children.length === after.length &&
    after.every((element, index) => parent.children[index] === element);
  if (!same) {
    parent.replaceChildren(...after);
    if (focused !== document.activeElement && focused !== null && parent.contains(focused)) {
      focused.focus({ preventScroll: true });
    }
  }
}

/** A definition list's entries: [term, text or element]; those without a text are left out. */
export function facts(entries) {
  return entries
    .filter(([, value]) => value !== null && value !== undefined && value !== "")
    .map(([term, value]) => h("div", {}, h("dt", {}, term), h("dd", {}, value)));
}

/** A table's row of a body; `cells` are [name of the column, content, class]. */
export function row(cells, attributes = {}) {
  return h(
    "tr",
    { role: "row", ...attributes },
    cells.map(([label, content, kind]) =>
      h("td", { role: "cell", "data-label": label, class: kind ?? null }, content),
    ),
  );
}

/** A button that copies a text. */
export function copyButton(text, what) {
  const button = h("button", { type: "button", class: "copy", "aria-label": `Copy ${what}` }, "Copy");
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text);
      say(button, "Copied");
    } catch {
      say(button, "Not allowed");
    }
    setTimeout(() => say(button, "Copy"), 2_000);
  });
  return button;
}
