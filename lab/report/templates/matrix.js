"use strict";
(() => {
  const root = document.documentElement;
  const $ = (id) => document.getElementById(id);
  const page = JSON.parse($("cells").textContent);
  const [PASS, SKIPPED, UNSUPPORTED, FAIL, ERROR] = [0, 1, 2, 3, 4];
  const GRAVITY = [FAIL, ERROR, UNSUPPORTED, SKIPPED, PASS];
  const SPOKEN = [PASS, FAIL, ERROR, UNSUPPORTED, SKIPPED];
  const LISTED = 100;
  root.classList.add("js");

  // ---- small things ----
  const h = (tag, attributes, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) {
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else if (value === true) element.setAttribute(name, "");
      else if (value !== false && value !== undefined && value !== "") element.setAttribute(name, value);
    }
    element.append(...children.filter((child) => child !== "" && child !== undefined && child !== null));
    return element;
  };
  const duration = (seconds) => {
    if (seconds < 59.95) return `${seconds.toFixed(1)} s`;
    const whole = Math.round(seconds), minutes = Math.floor(whole / 60), two = (n) => String(n).padStart(2, "0");
    return minutes < 60 ? `${minutes} m ${two(whole % 60)} s` : `${Math.floor(minutes / 60)} h ${two(minutes % 60)} m`;
  };
  const several = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;
  const glyph = (outcome) => page.outcomes[outcome][1];
  const word = (outcome) => page.outcomes[outcome][0];

  // ---- the cells, taken apart (see lab/report/packed.py) ----
  const text = (index) => page.texts[index];
  const cells = [], figures = document.querySelectorAll("figure.downtime");
  page.scenarios.forEach((scenario) => {
    scenario.cells = scenario.cells.map(([file, name, outcome, words, reason, flags, seconds, attempts, values, checks, evidence, figure]) => {
      const cell = {
        scenario, name, outcome, seconds, attempts, evidence, figure: figures[figure],
        index: cells.length, file: text(file), words: text(words), reason: text(reason),
        flaky: Boolean(flags & 1), expected: Boolean(flags & 2), values: values.map(text), checks,
      };
      cells.push(cell);
      return cell;
    });
    scenario.known = scenario.axes.map((_, axis) => [...new Set(scenario.cells.map((cell) => cell.values[axis]))]);
    scenario.own = { rows: scenario.rows, columns: scenario.columns };
    scenario.sort = { by: "order", column: "", down: false };
  });
  const id = (cell) => (cell.file ? `${cell.file}::${cell.name}` : cell.name);
  const plainPass = (cell) => cell.outcome === PASS && cell.expected && !cell.flaky;
  const haystack = (cell) => (cell.hay ??= [
    id(cell), cell.words, cell.flaky ? "flaky" : "", cell.reason, ...cell.values, ...cell.checks.map((c) => text(page.checks[c][0])),
  ].join("\n").toLowerCase());

  // ---- what is shown ----
  const wish = { words: [], off: new Set(), axes: new Map() };
  const shown = (cell) => {
    if (wish.off.has(cell.flaky && cell.outcome === PASS ? "flaky" : cell.outcome)) return false;
    for (const [axis, value] of wish.axes) {
      const at = cell.scenario.axes.indexOf(axis);
      if (at < 0 || cell.values[at] !== value) return false;
    }
    return wish.words.every((part) => haystack(cell).includes(part));
  };

  // ---- pivot: the same order as lab/matrix/pivot.py ----
  const key = (values) => JSON.stringify(values);
  const pick = (cell, axes) => axes.map((axis) => cell.values[axis]);
  const arranged = (scenario, visible) => {
    const rows = new Map(), columns = new Map(), squares = new Map();
    for (const cell of visible) {
      const row = pick(cell, scenario.rows), column = pick(cell, scenario.columns), at = key([row, column]);
      rows.set(key(row), row);
      columns.set(key(column), column);
      if (squares.has(at)) squares.get(at).push(cell);
      else squares.set(at, [cell]);
    }
    const sorted = (found, axes) => [...found.values()].sort((a, b) => {
      for (let i = 0; i < axes.length; i++) {
        const places = scenario.known[axes[i]], difference = places.indexOf(a[i]) - places.indexOf(b[i]);
        if (difference) return difference;
      }
      return 0;
    });
    const table = { rows: sorted(rows, scenario.rows), columns: sorted(columns, scenario.columns), squares };
    table.at = (row, column) => squares.get(key([row, column])) || [];
    sortRows(scenario, table);
    return table;
  };
  const grave = (list) => Math.min(GRAVITY.length, ...list.map((cell) => GRAVITY.indexOf(cell.outcome)));
  const sortRows = (scenario, table) => {
    const { by, column, down } = scenario.sort;
    const all = (row) => table.columns.flatMap((c) => table.at(row, c));
    const total = (row) => all(row).reduce((sum, cell) => sum + cell.seconds, 0);
    const bad = (row) => all(row).reduce((sum, cell) => sum + [0, 0, 1, 1000, 100][cell.outcome], 0);
    const name = (row) => row.join(" ");
    const rank = new Map(table.rows.map((row) => {
      if (by === "worst") return [row, -bad(row)];
      if (by === "slowest") return [row, -total(row)];
      if (by === "column") {
        const chosen = table.columns.find((c) => key(c) === column);
        return [row, (chosen ? grave(table.at(row, chosen)) : 0) * (down ? -1 : 1)];
      }
      return [row, 0];
    }));
    if (by === "name") table.rows.sort((a, b) => name(a).localeCompare(name(b), "en", { numeric: true }));
    else if (by !== "order") table.rows.sort((a, b) => rank.get(a) - rank.get(b));
  };

  // ---- drawing ----
  const joined = (axes, values, names) => {
    const parts = [];
    values.forEach((value, i) => {
      if (i) {
        const journey = names[axes[i - 1]] === "source" && names[axes[i]] === "target";
        parts.push(h("span", { class: "join" }, journey ? " → " : " · "));
      }
      parts.push(h("bdi", { title: names[axes[i]] }, value || "none"));
    });
    return parts.length ? parts : ["all"];
  };
  const tile = (cell) => {
    const [first, ...rest] = cell.words.split(" ");
    const kind = cell.outcome === FAIL && cell.expected ? " known" : cell.outcome === PASS && !cell.expected ? " surprise" : "";
    return h("div", { class: `tile o-${word(cell.outcome)}${kind}` },
      h("div", {}, h("span", { class: "g", "aria-hidden": "true" }, glyph(cell.outcome)), h("span", { class: "w" }, first),
        cell.flaky ? h("span", { class: "flaky-mark" }, `${page.flaky} flaky`) : ""),
      rest.length || cell.seconds ? h("small", {}, h("span", {}, rest.join(" ")), cell.seconds ? h("span", { class: "t" }, duration(cell.seconds)) : "") : "");
  };
  const tally = (list) => {
    const counts = page.outcomes.map(() => 0);
    list.forEach((cell) => counts[cell.outcome]++);
    return counts;
  };
  const share = (list, small) => {
    const bar = h("div", { class: `share${small ? " small" : ""}` });
    const counts = tally(list);
    SPOKEN.filter((outcome) => counts[outcome]).forEach((outcome) => {
      const count = counts[outcome];
      const part = h("span", { class: `s-${word(outcome)}`, title: `${count} ${word(outcome)}` });
      part.style.flexGrow = count;
      bar.append(part);
    });
    return bar;
  };
  const square = (scenario, table, row, column, place) => {
    const list = table.at(row, column);
    const where = `${row.map((v) => v || "none").join(", ")}; ${column.map((v) => v || "none").join(", ")}`;
    const td = h("td", { role: "gridcell", tabindex: "-1", "data-at": place });
    if (!list.length) {
      td.append(h("span", { class: "nothing", title: page.blank }, "·"));
      td.setAttribute("aria-label", `${where}: ${page.blank}`);
    } else if (list.length === 1) {
      td.append(tile(list[0]));
      td.setAttribute("aria-label", `${where}: ${list[0].words}${list[0].flaky ? ", flaky" : ""}`);
    } else {
      const box = h("div", { class: "tile several" });
      const counts = tally(list);
      GRAVITY.filter((outcome) => counts[outcome]).forEach((outcome) => {
        box.append(h("span", { class: `c-${word(outcome)}` }, `${glyph(outcome)} ${counts[outcome]} ${word(outcome)} `));
      });
      const flaky = list.filter((cell) => cell.flaky).length;
      if (flaky) box.append(h("span", { class: "flaky-mark" }, `${page.flaky} ${flaky} flaky`));
      td.append(box);
      td.setAttribute("aria-label", `${where}: ${box.textContent}`);
    }
    td.cells = list;
    return td;
  };
  const draw = (scenario) => {
    const frame = scenario.frame, visible = scenario.cells.filter(shown);
    scenario.section.hidden = !visible.length;
    if (!visible.length) return frame.replaceChildren();
    const table = arranged(scenario, visible), body = h("tbody", { role: "rowgroup" });
    const head = h("tr", { role: "row" }, h("th", { scope: "col", role: "columnheader" }, ...joined(scenario.rows, scenario.rows.map((a) => scenario.axes[a]), scenario.axes)));
    table.columns.forEach((column) => {
      const { by, column: chosen, down } = scenario.sort, active = by === "column" && chosen === key(column);
      const [first, ...others] = column;
      head.append(h("th", { scope: "col", role: "columnheader", "aria-sort": active ? (down ? "descending" : "ascending") : "none" },
        h("button", { type: "button", title: "Sort the rows by this column", onclick: () => {
          scenario.sort = { by: "column", column: key(column), down: active && !down };
          scenario.sorter.value = "column";
          draw(scenario);
        } }, h("bdi", {}, first === undefined ? "all" : first || "none"), ...others.map((value) => h("bdi", { class: "sub" }, value || "none")))));
    });
    // A table of thousands of rows is drawn a screenful first and the rest between frames, so that the page is there at once.
    const round = (scenario.round = (scenario.round || 0) + 1);
    const more = (from, count) => {
      table.rows.slice(from, from + count).forEach((row, i) => {
        body.append(h("tr", { role: "row" }, h("th", { scope: "row", role: "rowheader" }, h("div", { class: "rowname" }, ...joined(scenario.rows, row, scenario.axes))),
          ...table.columns.map((column, c) => square(scenario, table, row, column, `${from + i},${c}`))));
      });
      if (from + count < table.rows.length) requestAnimationFrame(() => scenario.round === round && more(from + count, 200));
    };
    more(0, Math.max(20, Math.ceil(1500 / table.columns.length)));
    frame.replaceChildren(h("table", { role: "grid", "aria-label": `${scenario.name}, ${scenario.kind}` }, h("thead", { role: "rowgroup" }, head), body));
    body.querySelector("td")?.setAttribute("tabindex", "0");
  };
  const chooser = (scenario, side, other) => {
    const own = scenario.own[side];
    const named = (axes) => axes.map((axis) => scenario.axes[axis]).join(" + ") || "none";
    const select = h("select", { onchange: () => {
      const chosen = select.value === "own" ? own : [Number(select.value)];
      const before = scenario[side];
      scenario[side] = chosen;
      scenario[other] = scenario[other].filter((axis) => !chosen.includes(axis));
      if (!scenario[other].length) scenario[other] = before.filter((axis) => !chosen.includes(axis));
      for (const one of ["rows", "columns"]) {
        const same = key(scenario[one]) === key(scenario.own[one]);
        const wanted = same ? "own" : scenario[one].length === 1 ? String(scenario[one][0]) : "mixed";
        const options = [...scenario.choosers[one].options];
        options.forEach((option) => option.value === "mixed" && option.remove());
        if (wanted === "mixed") scenario.choosers[one].append(h("option", { value: "mixed" }, named(scenario[one])));
        scenario.choosers[one].value = wanted;
      }
      scenario.sort = { by: "order", column: "", down: false };
      scenario.sorter.value = "order";
      draw(scenario);
    } }, h("option", { value: "own" }, named(own)));
    scenario.axes.forEach((axis, at) => {
      if (!(own.length === 1 && own[0] === at)) select.append(h("option", { value: String(at) }, axis));
    });
    scenario.choosers[side] = select;
    return h("label", {}, side === "rows" ? "Rows" : "Columns", select);
  };
  const sorter = (scenario) => {
    const options = { order: "as in the scenario", name: "by name", worst: "worst first", slowest: "slowest first", column: "by a column" };
    const select = h("select", { onchange: () => {
      scenario.sort = { by: select.value, column: scenario.sort.column, down: false };
      draw(scenario);
    } }, ...Object.entries(options).map(([value, label]) => h("option", { value, hidden: value === "column" }, label)));
    scenario.sorter = select;
    return h("label", {}, "Sort", select);
  };
  const build = (scenario) => {
    const used = new Set([...scenario.rows, ...scenario.columns]);
    const constants = scenario.axes.map((axis, at) => [axis, at]).filter(([, at]) => !used.has(at) && scenario.known[at].length === 1);
    scenario.choosers = {};
    scenario.frame = h("div", { class: "frame" });
    scenario.section = h("section", { class: "scenario", "aria-label": scenario.name },
      h("header", {}, h("h2", {}, h("bdi", {}, scenario.name), h("small", {}, `${scenario.kind} · ${several(scenario.cells.length, "cell")}`)), share(scenario.cells, true),
        h("div", { class: "layout" }, chooser(scenario, "rows", "columns"), chooser(scenario, "columns", "rows"), sorter(scenario))),
      constants.length ? h("p", { class: "constants" }, ...constants.map(([axis, at]) => h("span", {}, `${axis} `, h("b", {}, h("bdi", {}, scenario.known[at][0] || "none"))))) : "",
      scenario.frame);
    return scenario.section;
  };

  // ---- what is not a plain pass ----
  const findings = h("section", { class: "findings", "aria-label": "What is not a plain pass" });
  let listed = LISTED;
  const drawFindings = () => {
    const list = cells.filter((cell) => !plainPass(cell) && shown(cell));
    list.sort((a, b) => GRAVITY.indexOf(a.outcome) - GRAVITY.indexOf(b.outcome) || a.index - b.index);
    findings.hidden = !list.length;
    findings.replaceChildren(h("h2", {}, "What is not a plain pass", h("small", {}, String(list.length))), h("ul", {}, ...list.slice(0, listed).map((cell) =>
      h("li", {}, h("button", { type: "button", class: `b-${word(cell.outcome)}`, onclick: () => open([cell], true) },
        h("b", { class: `c-${word(cell.outcome)}` }, `${glyph(cell.outcome)} ${cell.words}`, cell.flaky ? h("span", { class: "flaky-mark" }, ` ${page.flaky} flaky`) : ""),
        h("bdi", { class: "name" }, cell.name), h("span", { class: "time" }, duration(cell.seconds)),
        cell.reason ? h("bdi", { class: "why" }, cell.reason) : "")))));
    if (list.length > listed) {
      findings.append(h("button", { type: "button", class: "more", onclick: () => { listed = Infinity; drawFindings(); } }, `Show all ${list.length}`));
    }
  };

  // ---- the panel ----
  const panel = $("panel");
  let opened = null, back = null;
  // Where two texts differ, between what they begin and end with alike.
  const marked = (mine, other) => {
    let start = 0, end = 0;
    const most = Math.min(mine.length, other.length);
    while (start < most && mine[start] === other[start]) start++;
    while (end < most - start && mine[mine.length - 1 - end] === other[other.length - 1 - end]) end++;
    if (start + end < 3) return [mine || "(nothing)"];
    return [mine.slice(0, start), h("mark", {}, mine.slice(start, mine.length - end)), mine.slice(mine.length - end)];
  };
  const check = (index) => {
    const [name, outcome, expected, observed] = page.checks[index];
    const [wanted, seen] = [text(expected), text(observed)], bad = outcome !== PASS;
    const head = [h("span", { class: `c-${word(outcome)}` }, `${glyph(outcome)} ${word(outcome)}`), h("b", {}, h("bdi", {}, text(name)))];
    return h("details", { class: `check b-${word(outcome)}`, open: bad }, h("summary", {}, ...head),
      h("dl", {}, h("dt", {}, "expected"), h("dd", {}, ...(bad ? marked(wanted, seen) : [wanted || "(not kept)"])),
        h("dt", {}, "observed"), h("dd", {}, ...(bad ? marked(seen, wanted) : [seen || "(not kept)"]))));
  };
  const safe = (path) => `./${path.split("/").filter((part) => part && part !== "." && part !== "..").map(encodeURIComponent).join("/")}`;
  const one = (cell) => {
    const paths = [];
    for (let i = 0; i < cell.evidence.length; i += 2) paths.push([text(cell.evidence[i]), text(cell.evidence[i + 1])].filter(Boolean).join("/"));
    // The figure says better what the fact of that name says.
    const facts = cell.scenario.axes.map((axis, at) => [axis, cell.values[at]]).filter(([axis, value]) => value && !(cell.figure && axis === "downtime"));
    facts.push(["took", duration(cell.seconds)]);
    if (cell.attempts > 1) facts.push(["attempts", String(cell.attempts)]);
    facts.push(["expected", cell.expected ? "yes" : "no"]);
    const order = [...cell.checks].sort((a, b) => GRAVITY.indexOf(page.checks[a][1]) - GRAVITY.indexOf(page.checks[b][1]));
    return h("article", { class: "one" }, tile(cell), h("h3", {}, h("bdi", {}, cell.name)), h("p", { class: "id mono" }, id(cell)),
      cell.reason ? h("p", { class: "reason" }, h("bdi", {}, cell.reason)) : "",
      h("dl", { class: "panel-facts" }, ...facts.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, h("bdi", {}, value))])),
      ...(cell.figure ? [h("h3", {}, "Downtime"), cell.figure.cloneNode(true)] : []),
      order.length ? h("h3", {}, several(order.length, "check")) : "", ...order.map(check),
      paths.length ? h("h3", {}, "Evidence") : "",
      paths.length ? h("ul", { class: "evidence" }, ...paths.map((path) => h("li", {}, h("a", { href: safe(path) }, h("bdi", {}, path))))) : "");
  };
  const open = (list, focus) => {
    if (!list.length) return;
    if (!panel.contains(document.activeElement)) back = document.activeElement;
    const before = back.getBoundingClientRect().top;
    opened = list;
    document.querySelectorAll("td.open").forEach((td) => td.classList.remove("open"));
    document.querySelectorAll("td").forEach((td) => td.cells?.some((cell) => list.includes(cell)) && td.classList.add("open"));
    const title = list.length === 1 ? list[0].scenario.name : several(list.length, "cell");
    const heading = h("h2", { id: "panel-title", tabindex: "-1" }, h("bdi", {}, title));
    panel.replaceChildren(h("div", { class: "panel-top" }, heading, h("button", { type: "button", id: "close", onclick: close }, "Close ", h("kbd", {}, "Esc"))), ...list.map(one));
    panel.hidden = false;
    document.body.classList.add("with-panel");
    panel.scrollTop = 0;
    // The panel makes room for itself: what was clicked stays under the pointer.
    if (back !== document.body) window.scrollBy({ top: back.getBoundingClientRect().top - before, behavior: "instant" });
    if (focus) heading.focus({ preventScroll: true });
    if (list.length === 1) history.replaceState(null, "", `#cell=${encodeURIComponent(id(list[0]))}`);
  };
  const close = () => {
    panel.hidden = true;
    document.body.classList.remove("with-panel");
    opened = null;
    document.querySelectorAll("td.open").forEach((td) => td.classList.remove("open"));
    history.replaceState(null, "", location.pathname + location.search);
    if (back?.isConnected) back.focus();
  };

  // ---- the whole page again, after the wish has changed ----
  const filtered = () => wish.words.length || wish.off.size || wish.axes.size;
  const update = () => {
    page.scenarios.forEach(draw);
    drawFindings();
    const count = cells.filter(shown).length;
    $("status").textContent = filtered() ? `${count} of ${several(cells.length, "cell")}` : several(cells.length, "cell");
    $("clear").hidden = !filtered();
    $("none").hidden = Boolean(count) || !cells.length;
  };
  const filters = () => {
    const counts = tally(cells), flaky = cells.filter((cell) => cell.flaky && cell.outcome === PASS).length;
    const chip = (name, mark, label, count) => {
      const button = h("button", { type: "button", "aria-pressed": "true", onclick: () => {
        if (!wish.off.delete(name)) wish.off.add(name);
        button.setAttribute("aria-pressed", String(!wish.off.has(name)));
        update();
      } }, h("span", { "aria-hidden": "true" }, mark), label, h("b", {}, String(count)));
      return button;
    };
    $("outcomes").replaceChildren(
      ...SPOKEN.filter((o) => counts[o]).map((o) => chip(o, glyph(o), word(o), o === PASS ? counts[o] - flaky : counts[o])),
      ...(flaky ? [chip("flaky", page.flaky, "flaky", flaky)] : []));
    const values = new Map();
    page.scenarios.forEach((scenario) => scenario.axes.forEach((axis, at) => {
      if (!values.has(axis)) values.set(axis, new Set());
      scenario.known[at].forEach((value) => value && values.get(axis).add(value));
    }));
    $("axes").replaceChildren(...[...values].filter(([, known]) => known.size > 1).map(([axis, known]) => {
      const select = h("select", { "aria-label": `Only ${axis}`, onchange: () => {
        if (select.value) wish.axes.set(axis, select.value.slice(1));
        else wish.axes.delete(axis);
        select.classList.toggle("set", Boolean(select.value));
        update();
      } }, h("option", { value: "" }, `any ${axis}`), ...[...known].map((value) => h("option", { value: `=${value}` }, value)));
      return select;
    }));
  };
  let waiting = 0;
  const setText = () => {
    wish.words = $("text").value.toLowerCase().split(/\s+/).filter(Boolean);
    clearTimeout(waiting);
    waiting = setTimeout(update, cells.length > 2000 ? 150 : 0);
  };
  $("text").addEventListener("input", setText);
  $("tools").addEventListener("submit", (event) => event.preventDefault());
  $("clear").addEventListener("click", () => {
    wish.off.clear();
    wish.axes.clear();
    wish.words = [];
    $("text").value = "";
    filters();
    update();
    $("text").focus();
  });

  // ---- keyboard and mouse ----
  const tables = $("tables");
  const go = (td) => {
    if (!td) return;
    td.closest("table").querySelectorAll('td[tabindex="0"]').forEach((other) => other.setAttribute("tabindex", "-1"));
    td.setAttribute("tabindex", "0");
    td.focus();
    td.scrollIntoView({ block: "nearest", inline: "nearest" });
    if (opened && td.cells.length) open(td.cells, false);
  };
  const neighbour = (td, name) => {
    const [row, column] = td.dataset.at.split(",").map(Number), table = td.closest("table");
    const find = (r, c) => table.querySelector(`td[data-at="${r},${c}"]`);
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[name];
    if (name === "Home") return find(row, 0);
    if (name === "End") return [...td.parentElement.cells].at(-1);
    const next = find(row + step[0], column + step[1]);
    if (next || !step[0]) return next;
    // Over the edge of one table into the next.
    const grids = [...document.querySelectorAll("#tables table")], other = grids[grids.indexOf(table) + step[0]];
    const rows = other ? [...other.tBodies[0].rows] : [];
    const line = rows.length ? rows.at(step[0] > 0 ? 0 : -1) : null;
    return line && (line.cells[column + 1] || line.cells[line.cells.length - 1]);
  };
  tables.addEventListener("click", (event) => {
    const td = event.target.closest("td");
    if (td?.cells) {
      go(td);
      if (!opened || opened !== td.cells) open(td.cells, false);
    }
  });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = event.target.matches("input, select, textarea");
    if (event.key === "Escape") {
      if (opened) close();
      else if (event.target === $("text") && $("text").value) { $("text").value = ""; setText(); }
      else return;
      event.preventDefault();
    } else if (event.key === "/" && !typing) {
      event.preventDefault();
      $("text").focus();
      $("text").select();
    } else if (event.target.matches("td")) {
      if (/^(Arrow|Home$|End$)/.test(event.key)) { event.preventDefault(); go(neighbour(event.target, event.key)); }
      else if (event.key === "Enter" || event.key === " ") { event.preventDefault(); open(event.target.cells, true); }
    } else if (event.target === $("text") && event.key === "ArrowDown") {
      event.preventDefault();
      go(document.querySelector("#tables td"));
    }
  });

  // ---- light and dark ----
  const themes = ["auto", "light", "dark"];
  const remember = (value) => {
    try {
      if (value !== undefined) localStorage.setItem("lab-theme", value);
      return localStorage.getItem("lab-theme") || "auto";
    } catch { return value || "auto"; } // a browser may refuse storage to file://
  };
  const setTheme = (theme) => {
    if (theme === "auto") delete root.dataset.theme;
    else root.dataset.theme = theme;
    $("theme").textContent = `Theme: ${theme}`;
  };
  let theme = themes.includes(remember()) ? remember() : "auto";
  setTheme(theme);
  $("theme").addEventListener("click", () => setTheme((theme = themes[(themes.indexOf(theme) + 1) % 3], remember(theme), theme)));

  // ---- begin ----
  const none = h("p", { id: "none", class: "empty", hidden: true }, "No cell matches the filter.");
  tables.replaceChildren(...page.scenarios.map(build), none, findings);
  if (!cells.length) tables.replaceChildren(h("p", { class: "empty" }, document.querySelector(".sentence").textContent), none, findings);
  $("tools").hidden = !cells.length;
  if (cells.length) $("share").append(share(cells, false));
  filters();
  update();
  const wanted = decodeURIComponent((location.hash.match(/^#cell=(.*)$/) || [])[1] || "");
  const linked = wanted && cells.find((cell) => id(cell) === wanted);
  if (linked) open([linked], true);
  window.addEventListener("beforeprint", () => { listed = Infinity; drawFindings(); });
})();
