// Elements. Text is always set as text, never parsed as HTML.

/** The element with that id. */
export function byId(id) {
  return document.getElementById(id);
}

/** A new element with properties, and children that are elements or text. */
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in made) {
      made[name] = value;
    } else {
      made.setAttribute(name, value);
    }
  }
  made.append(...children);
  return made;
}

/** Sets a text, if it is another one: the browser has no work with what stays. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Shows a node or hides it. */
export function setShown(node, shown) {
  if (node.hidden === shown) node.hidden = !shown;
}

/**
 * A table with a bounded number of rows, whose elements are used again for other content.
 *
 * A column is { title, text(row) } or { title, make(), update(cell, row) }; `number` aligns it to the right, `side` hides it on a
 * phone, `sort` makes its heading a button. The first column names its row.
 */
export class Table {
  constructor(parent, caption, columns, onSort) {
    this.columns = columns;
    this.headings = columns.map((column) => this.#heading(column, onSort));
    this.body = element("tbody");
    this.rows = [];
    this.empty = element("p", { className: "muted empty" });
    this.table = element("table", {}, element("caption", { className: "unseen" }, caption),
      element("thead", {}, element("tr", {}, ...this.headings)), this.body);
    parent.replaceChildren(this.table, this.empty);
    this.show([]);
  }

  #heading(column, onSort) {
    const heading = element("th", { scope: "col", className: classes(column) });
    if (column.sort && onSort) {
      heading.append(element("button", { type: "button", className: "sort", onclick: () => onSort(column.sort) }, column.title));
    } else {
      heading.append(column.title);
    }
    return heading;
  }

  /** Marks the column by which the rows are sorted. */
  sorted(by) {
    this.columns.forEach((column, place) => {
      if (!column.sort) return;
      const order = column.sort === by ? (column.ascending ? "ascending" : "descending") : "none";
      this.headings[place].setAttribute("aria-sort", order);
    });
  }

  /** Shows these rows, or `nothing` if there are none. */
  show(rows, nothing = "") {
    while (this.rows.length < rows.length) this.rows.push(this.#row());
    this.rows.forEach((made, place) => {
      const row = rows[place];
      setShown(made.node, row !== undefined);
      if (row === undefined) return;
      this.columns.forEach((column, at) => {
        if (column.update) return column.update(made.cells[at], row);
        const text = column.text(row);
        setText(made.cells[at], text);
        made.cells[at].dataset.zero = String(text === "0");
      });
    });
    setShown(this.table, rows.length > 0);
    setShown(this.empty, rows.length === 0);
    setText(this.empty, nothing);
  }

  #row() {
    const cells = this.columns.map((column, place) => {
      const cell = place === 0 ? element("th", { scope: "row" }) : element("td");
      cell.className = classes(column);
      if (column.make) cell.append(column.make());
      return cell;
    });
    const node = element("tr", {}, ...cells);
    this.body.append(node);
    return { node, cells };
  }
}

function classes(column) {
  return [column.number ? "number" : "", column.side ? "side" : "", column.className ?? ""].join(" ").trim();
}

/** Shows lines as items of a list, each { title, detail, mark }; `nothing` if there are none. */
export function showLines(list, lines, nothing) {
  const shown = lines.length > 0 ? lines : [{ title: nothing, mark: "none" }];
  while (list.children.length > shown.length) list.lastElementChild.remove();
  while (list.children.length < shown.length) {
    list.append(element("li", {}, element("span", { className: "title" }), element("span", { className: "detail muted" })));
  }
  shown.forEach((line, place) => {
    const item = list.children[place];
    item.dataset.mark = line.mark ?? "";
    setText(item.children[0], line.title);
    setText(item.children[1], line.detail ?? "");
    setShown(item.children[1], (line.detail ?? "") !== "");
  });
}
