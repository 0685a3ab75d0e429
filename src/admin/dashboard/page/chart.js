// A chart of checks admitted and denied over time, on a canvas: the denied ones are on top of the admitted ones.

import { element, setText } from "./dom.js";
import { rate } from "./format.js";

const HEIGHT = { top: 10, bottom: 22 };
const GUTTER = 46;

/** The colours of the page, as they are now. */
function colours(node) {
  const style = getComputedStyle(node);
  const read = (name) => style.getPropertyValue(name).trim();
  return {
    admitted: read("--admitted"), admittedFill: read("--admitted-fill"), denied: read("--denied"), deniedFill: read("--denied-fill"),
    line: read("--line"), muted: read("--muted"), text: read("--text"),
  };
}

/** A canvas with the resolution of the screen; draws again when its size or the colours change. */
class Surface {
  constructor(canvas, draw) {
    [this.canvas, this.draw] = [canvas, draw];
    this.context = canvas.getContext("2d");
    this.size = { width: 0, height: 0 };
    new ResizeObserver(() => this.resize()).observe(canvas);
    document.addEventListener("themechange", () => {
      this.colours = undefined;
      this.redraw();
    });
  }

  resize() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    const ratio = window.devicePixelRatio || 1;
    if (width === this.size.width && height === this.size.height && ratio === this.ratio) return;
    [this.size, this.ratio] = [{ width, height }, ratio];
    this.canvas.width = Math.max(1, Math.round(width * ratio));
    this.canvas.height = Math.max(1, Math.round(height * ratio));
    this.redraw();
  }

  redraw() {
    if (this.size.width === 0 || this.size.height === 0) return;
    this.colours ??= colours(this.canvas);
    this.context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    this.context.clearRect(0, 0, this.size.width, this.size.height);
    this.draw(this.context, this.size, this.colours);
  }
}

/** The area between two lines; where a value is unknown there is a gap. */
function area(context, xs, lower, upper, fill, stroke) {
  let from = 0;
  while (from < xs.length) {
    while (from < xs.length && Number.isNaN(upper[from])) from++;
    let to = from;
    while (to < xs.length && !Number.isNaN(upper[to])) to++;
    if (to > from) {
      context.beginPath();
      context.moveTo(xs[from], upper[from]);
      for (let at = from + 1; at < to; at++) context.lineTo(xs[at], upper[at]);
      if (stroke) {
        context.strokeStyle = stroke;
        context.lineWidth = 1.5;
        context.stroke();
      }
      for (let at = to - 1; at >= from; at--) context.lineTo(xs[at], lower[at]);
      context.closePath();
      context.fillStyle = fill;
      context.fill();
    }
    from = to;
  }
}

function stack(values, y, x) {
  const count = values.admitted.length;
  const [xs, zero, admitted, all] = [[], [], [], []];
  let any = false;
  for (let at = 0; at < count; at++) {
    xs.push(x(at));
    zero.push(y(0));
    admitted.push(y(values.admitted[at]));
    // Where nothing is denied nearby, there is nothing on top.
    const near = values.denied[at] > 0 || values.denied[at - 1] > 0 || values.denied[at + 1] > 0;
    all.push(near ? y(values.admitted[at] + values.denied[at]) : NaN);
    any ||= values.denied[at] > 0;
  }
  return { xs, zero, admitted, all, any };
}

function paint(context, stacked, colour) {
  area(context, stacked.xs, stacked.zero, stacked.admitted, colour.admittedFill, colour.admitted);
  if (stacked.any) area(context, stacked.xs, stacked.admitted, stacked.all, colour.deniedFill, colour.denied);
}

function peak(values) {
  let most = 0;
  values.admitted.forEach((admitted, at) => {
    const all = admitted + values.denied[at];
    if (all > most) most = all;
  });
  return most;
}

/** A round number that is not less: 1, 2, 2.5 or 5 times a power of ten. */
function round(value) {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 1e-9)));
  return [1, 2, 2.5, 5, 10].map((step) => step * power).find((step) => step >= value - 1e-12);
}

/** A small chart in the cell of a table. What it shows is in numbers next to it. */
export class Spark {
  constructor() {
    this.canvas = element("canvas", { className: "spark" });
    this.canvas.setAttribute("aria-hidden", "true");
    this.values = null;
    this.surface = new Surface(this.canvas, (context, size, colour) => this.#draw(context, size, colour));
  }

  show(values) {
    this.values = values;
    this.surface.redraw();
  }

  #draw(context, { width, height }, colour) {
    if (!this.values) return;
    const most = Math.max(peak(this.values), 1e-9);
    const last = this.values.admitted.length - 1;
    const y = (value) => height - 1.5 - (height - 3) * (value / most);
    paint(context, stack(this.values, y, (at) => (width * at) / last), colour);
  }
}

/** A large chart with axes, and a cursor that the pointer or the arrow keys move. */
export class Chart {
  /** `label(at)` names a point of time in full, `tick(at)` in short; both are given with the values. */
  constructor(parent, name) {
    this.canvas = element("canvas", {});
    this.canvas.setAttribute("aria-hidden", "true");
    this.readout = element("output", { className: "readout" });
    this.box = element("div", { className: "plot", tabIndex: 0, role: "group" }, this.canvas);
    this.name = name;
    this.cursor = null;
    this.content = null;
    parent.replaceChildren(this.box, this.readout);
    this.surface = new Surface(this.canvas, (context, size, colour) => this.#draw(context, size, colour));
    this.box.addEventListener("pointermove", (event) => this.#point(event));
    this.box.addEventListener("pointerleave", () => this.#move(null));
    this.box.addEventListener("blur", () => this.#move(null));
    this.box.addEventListener("keydown", (event) => this.#key(event));
  }

  /** Shows { admitted, denied, label, tick, ticks }; `summary` describes them for those who cannot see them. */
  show(content, summary) {
    this.content = content;
    const described = `${this.name}: ${summary}. The arrow keys move through the values.`;
    if (this.box.getAttribute("aria-label") !== described) this.box.setAttribute("aria-label", described);
    if (this.cursor !== null) this.cursor = Math.min(this.cursor, content.admitted.length - 1);
    this.#read();
    this.surface.redraw();
  }

  #x(at) {
    return GUTTER + ((this.surface.size.width - GUTTER - 6) * at) / Math.max(1, this.content.admitted.length - 1);
  }

  #point(event) {
    if (!this.content) return;
    const left = event.clientX - this.canvas.getBoundingClientRect().left;
    const share = (left - GUTTER) / Math.max(1, this.surface.size.width - GUTTER - 6);
    const last = this.content.admitted.length - 1;
    this.#move(Math.round(Math.min(1, Math.max(0, share)) * last));
  }

  #key(event) {
    if (!this.content) return;
    const last = this.content.admitted.length - 1;
    const from = this.cursor ?? last + 1;
    const to = { ArrowLeft: from - 1, ArrowRight: from + 1, PageUp: from - 10, PageDown: from + 10, Home: 0, End: last }[event.key];
    if (event.key === "Escape") return this.#move(null);
    if (to === undefined) return;
    event.preventDefault();
    this.#move(Math.min(last, Math.max(0, to)));
  }

  #move(cursor) {
    if (cursor === this.cursor) return;
    this.cursor = cursor;
    this.#read();
    this.surface.redraw();
  }

  #read() {
    if (this.cursor === null || !this.content) return setText(this.readout, "");
    const [admitted, denied] = [this.content.admitted[this.cursor], this.content.denied[this.cursor]];
    const words = Number.isNaN(admitted) ? "not known" : `${rate(admitted)} admitted, ${rate(denied)} denied per second`;
    setText(this.readout, `${this.content.label(this.cursor)}: ${words}`);
  }

  #draw(context, { width, height }, colour) {
    const content = this.content;
    if (!content) return;
    const floor = height - HEIGHT.bottom;
    const most = round(Math.max(peak(content), 0.001)) || 1;
    const y = (value) => floor - (floor - HEIGHT.top) * (value / most);
    context.font = "11px system-ui, sans-serif";
    context.lineWidth = 1;
    context.textBaseline = "middle";
    context.textAlign = "right";
    for (let part = 0; part <= 4; part++) {
      const at = Math.round(y((most * part) / 4)) + 0.5;
      context.strokeStyle = colour.line;
      context.beginPath();
      context.moveTo(GUTTER, at);
      context.lineTo(width - 6, at);
      context.stroke();
      context.fillStyle = colour.muted;
      if (part % 2 === 0) context.fillText(rate((most * part) / 4), GUTTER - 7, at);
    }
    this.#ticks(context, floor, colour);
    paint(context, stack(content, y, (at) => this.#x(at)), colour);
    if (this.cursor !== null) {
      context.strokeStyle = colour.text;
      context.beginPath();
      context.moveTo(Math.round(this.#x(this.cursor)) + 0.5, HEIGHT.top);
      context.lineTo(Math.round(this.#x(this.cursor)) + 0.5, floor);
      context.stroke();
    }
  }

  #ticks(context, floor, colour) {
    const last = this.content.admitted.length - 1;
    const steps = this.surface.size.width < 420 ? 2 : this.content.ticks ?? 5;
    context.fillStyle = colour.muted;
    for (let part = 0; part <= steps; part++) {
      const at = Math.round((last * part) / steps);
      context.textAlign = part === 0 ? "left" : part === steps ? "right" : "center";
      context.fillText(this.content.tick(at), this.#x(at), floor + 13);
    }
  }
}
