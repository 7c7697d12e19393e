/** One plot over time: lines, a legend that follows the pointer, a text and a table for who sees none. */

import uPlot from "./uPlot.esm.js";
import { h, row, say, set, show } from "./dom.js";
import { moment, NONE, ticks } from "./format.js";
import { alone, gaps, inWords, sample } from "./series.js";

const HEIGHT = 190;
const FONT = '11px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif';
/** Rows of the table that stands for a plot. */
const TABLE_ROWS = 48;
/** Steps of an axis of whole things. */
const WHOLE = Array.from({ length: 13 }, (_, power) => [1, 2, 5].map((n) => n * 10 ** power)).flat();

/** "1.50 TH/s" on an axis is "1.5 TH/s". */
const bare = (text) => text.replace(/(\.\d*?)0+(?=\D|$)/, "$1").replace(/\.(?=\D|$)/, "");

/** A CSS colour as the page has it now, with another opacity. */
function ink(element, alpha = 1) {
  const solid = getComputedStyle(element).color;
  return alpha === 1 ? solid : solid.replace(/^rgb\((.*)\)$/, `rgba($1, ${alpha})`);
}

/**
 * @typedef {object} Line
 * @property {string} label
 * @property {(value: number) => string} write
 * @property {number} ink number of its colour in the style sheet.
 * @property {string} [scale] "y", at the left, or "z", at the right.
 * @property {boolean} [whole] counts things.
 * @property {boolean} [area] filled below.
 * @property {boolean} [faint] behind another one that it belongs to; not in the legend.
 */

/** A figure that draws `lines`, all over the same time. */
export class Plot {
  /**
   * @param {string} key names it. @param {string} title @param {Line[]} lines
   * @param {string} [group] plots of one group show what is at the same time.
   */
  constructor(key, title, lines, group = "history") {
    [this.lines, this.group, this.data, this.plot] = [lines, group, null, null];
    const shown = lines.filter((line) => !line.faint);
    this.values = new Map(shown.map((line) => [line, h("span", { class: "value" }, NONE)]));
    this.markers = new Map(lines.map((line) => [line, h("span", { class: `marker ink-${line.ink}` })]));
    this.legend = h("p", { class: "legend", "aria-hidden": "true" },
      shown.map((line) => h("span", {}, this.markers.get(line), line.label, " ", this.values.get(line))));
    this.time = h("span", { class: "time" });
    this.legend.append(this.time);
    const probe = (name) => [name, h("span", { class: `probe-${name}` })];
    this.inks = Object.fromEntries(["axis", "grid", "gap"].map(probe));
    this.canvas = h("div", { class: "canvas", "aria-hidden": "true" });
    this.words = h("p", { class: "unseen" });
    this.table = h("details", {}, h("summary", {}, "Table"), h("div", { class: "scroll", tabindex: "0" }));
    this.table.addEventListener("toggle", () => this.#fillTable());
    const faint = lines.filter((line) => line.faint).map((line) => this.markers.get(line));
    const probes = h("span", { hidden: true }, Object.values(this.inks), faint);
    this.element = h("figure", { class: `plot plot-${key}` },
      h("figcaption", {}, h("h3", {}, title), this.legend), this.words, this.canvas, this.table, probes);
    new ResizeObserver(() => this.#fit()).observe(this.canvas);
    document.addEventListener("themechange", () => this.#rebuild());
  }

  /**
   * Draws what there is.
   *
   * @param {{t: number[], values: (number|null)[][], from: number, to: number, stepMs: number,
   *   title: string}} data a column for each line; the title says which time it is.
   */
  update(data) {
    const steps = this.data?.stepMs !== data.stepMs;
    this.data = data;
    this.isolated = data.values.map(alone);
    const lead = data.t.length === 0 ? [[data.from, data.to]]
      : data.t[0] - data.from > data.stepMs ? [[data.from, data.t[0]]] : [];
    this.gaps = [...lead, ...gaps(data.t, data.values, data.stepMs)];
    if (this.plot === null || steps) {
      this.#rebuild();
    } else {
      this.plot.setData([data.t, ...data.values]);
    }
    this.#follow(null);
    const spoken = this.lines.map((line, n) => (line.faint ? "" : inWords(line.label, data.values[n], line.write)));
    const silent = this.gaps.length === 0 ? "" : ` Without data: ${this.gaps.length} stretches of time.`;
    say(this.words, `${data.title}. ${spoken.filter(Boolean).join("; ")}.${silent}`);
    if (this.table.open) {
      this.#fillTable();
    }
  }

  /** Shows it, or doesn't. */
  show(shown) {
    show(this.element, shown);
  }

  #fit() {
    const width = this.canvas.clientWidth;
    if (this.plot === null) {
      this.#rebuild();
    } else if (width > 0 && width !== this.plot.width) {
      this.plot.setSize({ width, height: HEIGHT });
    }
  }

  #rebuild() {
    this.plot?.destroy();
    this.plot = null;
    // Without a width it is hidden; it comes when it is shown.
    if (this.data !== null && this.canvas.clientWidth > 0) {
      this.plot = new uPlot(this.#options(), [this.data.t, ...this.data.values], this.canvas);
    }
  }

  #options() {
    const grid = { stroke: ink(this.inks.grid), width: 1 };
    const axis = { font: FONT, stroke: ink(this.inks.axis), grid, ticks: { show: false } };
    const right = this.lines.some((line) => line.scale === "z");
    return {
      width: this.canvas.clientWidth,
      height: HEIGHT,
      ms: 1,
      legend: { show: false },
      cursor: {
        y: false, drag: { x: false, y: false }, points: { size: 7 },
        sync: { key: this.group, setSeries: false },
      },
      scales: {
        x: { time: true, range: () => [this.data.from, this.data.to] },
        y: { range: (_, __, most) => [0, this.#top("y", most)] },
        z: { range: (_, __, most) => [0, this.#top("z", most)] },
      },
      axes: [
        { ...axis, size: 38, gap: 4, space: 64, values: (_, splits, __, ___, step) => ticks(splits, step) },
        this.#side(axis, "y", 3),
        ...(right ? [{ ...this.#side(axis, "z", 1), grid: { show: false } }] : []),
      ],
      series: [{}, ...this.lines.map((line, index) => this.#series(line, index))],
      hooks: {
        drawClear: [(plot) => this.#shade(plot)],
        draw: [(plot) => this.#label(plot)],
        setCursor: [(plot) => this.#follow(plot.cursor.idx)],
      },
    };
  }

  /** The upper end of a scale: something even when all is 0. */
  #top(scale, most) {
    const least = this.lines.find((line) => (line.scale ?? "y") === scale)?.least ?? 1;
    return Math.max(least, (most ?? 0) * 1.1);
  }

  #side(axis, scale, side) {
    const first = this.lines.find((line) => (line.scale ?? "y") === scale);
    return {
      ...axis, scale, side, gap: 6, space: 34,
      ...(first.whole ? { incrs: WHOLE } : {}),
      values: (_, splits) => splits.map((value) => bare(first.write(value))),
      size: (_, values) => 14 + 6.4 * Math.max(3, ...(values ?? []).map((text) => text.length)),
    };
  }

  #series(line, index) {
    const marker = this.markers.get(line);
    return {
      label: line.label,
      scale: line.scale ?? "y",
      stroke: ink(marker, line.faint ? 0.3 : 1),
      width: line.faint ? 1 : 1.75,
      fill: line.area ? ink(marker, 0.1) : undefined,
      spanGaps: false,
      auto: !line.faint, // it may leave the plot rather than flatten what it belongs to
      points: {
        show: false, size: 4, fill: ink(marker),
        filter: () => (this.isolated[index].length > 0 ? this.isolated[index] : null),
      },
    };
  }

  /** The gaps as the canvas has them: [left, width], in its pixels. */
  #stretches({ bbox, valToPos }) {
    const [left, right] = [bbox.left, bbox.left + bbox.width];
    const at = (ms) => Math.min(Math.max(valToPos(ms, "x", true), left), right);
    return this.gaps.map(([from, to]) => [at(from), at(to) - at(from)]);
  }

  /** Times without data: nobody should take them for zero. */
  #shade(plot) {
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.fillStyle = ink(this.inks.gap, 0.09);
    for (const [left, width] of this.#stretches(plot)) {
      ctx.fillRect(left, bbox.top, width, bbox.height);
    }
    ctx.restore();
  }

  #label(plot) {
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.fillStyle = ink(this.inks.axis);
    ctx.font = FONT.replace("11px", `${Math.round(11 * devicePixelRatio)}px`);
    [ctx.textAlign, ctx.textBaseline] = ["center", "middle"];
    for (const [left, width] of this.#stretches(plot)) {
      if (width > 70 * devicePixelRatio) {
        ctx.fillText("no data", left + width / 2, bbox.top + bbox.height * 0.4);
      }
    }
    ctx.restore();
  }

  /** The legend says what is at an index, or the newest. */
  #follow(index) {
    const { t, values, stepMs } = this.data;
    const pointed = index !== null && index !== undefined;
    this.lines.forEach((line, n) => {
      const at = pointed ? values[n][index] : values[n].findLast((value) => value !== null);
      if (!line.faint) {
        say(this.values.get(line), at === null || at === undefined ? NONE : line.write(at));
      }
    });
    say(this.time, pointed ? moment(t[index]).replace(stepMs < 60_000 ? "" : /:\d\d$/, "") : "");
  }

  #fillTable() {
    if (!this.table.open || this.data === null) {
      return;
    }
    const { t, values } = this.data;
    const head = (text, kind = null) => h("th", { scope: "col", role: "columnheader", class: kind }, text);
    const shown = this.lines.map((line, n) => ({ ...line, n })).filter((line) => !line.faint);
    const write = ({ n, write: text }, index) => (values[n][index] === null ? NONE : text(values[n][index]));
    const body = sample(t.length, TABLE_ROWS).map((index) =>
      row([["Time", moment(t[index])], ...shown.map((line) => [line.label, write(line, index), "num"])]));
    const table = h("table", { role: "table", class: "plain" },
      h("thead", { role: "rowgroup" },
        h("tr", { role: "row" }, head("Time"), shown.map((line) => head(line.label, "num")))),
      h("tbody", { role: "rowgroup" }, body.reverse()));
    this.table.lastChild.replaceChildren(table);
    set(this.table.lastChild, "aria-label", this.data.title);
  }
}
