"use strict";
// The video browser. State: which video, class and tIoU (also in the address), sort, search, and the visible time.
// Names are only ever set as text; lookups by name go through Map, so that no name is special.
(() => {
  const data = JSON.parse(document.getElementById("report-data").textContent);
  const byId = (id) => document.getElementById(id);
  const videos = new Map(data.videos.map((video) => [video.id, video]));
  const scored = data.tious.length > 0;
  const MISSED = data.types.length; // position in `errors`, after the types of detections
  const FEW = 6, MOST_ROWS = 200;
  const state = { video: null, classId: -1, tiou: data.tiou, from: 0, to: 1, picked: null, time: null, until: null };
  let shown = [], printing = false, moves = []; // `moves`: of the cursors that are drawn

  const number = (value, digits = 2) => (value === null ? "unknown" : value.toFixed(digits));
  const sum = (values) => values.reduce((a, b) => a + b, 0);
  const element = (name, attributes = {}, text = null) => {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== null) made.textContent = text;
    return made;
  };
  const shape = (parent, name, attributes = {}, text = null) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== null) made.textContent = text;
    parent.append(made);
    return made;
  };
  const count = (text, letter) => text.split(letter).length - 1;

  // What went wrong in a video at the chosen tIoU: counts by type, then missed instances; of one class if one is chosen.
  function errorsOf(video) {
    if (!video.errors) return null;
    if (state.classId < 0) return video.errors[state.tiou];
    const track = video.tracks.find((candidate) => candidate.class === state.classId);
    if (!track) return data.types.map(() => 0).concat(0);
    return data.types.map((_, kind) => count(track.types[state.tiou], String(kind))).concat(count(track.missed[state.tiou], "1"));
  }
  const wrong = (video) => { const errors = errorsOf(video); return errors ? sum(errors) - errors[0] : null; };
  function apOf(video) {
    const tracks = video.tracks.filter((track) => track.ap && (state.classId < 0 || track.class === state.classId));
    return tracks.length ? sum(tracks.map((track) => track.ap[state.tiou])) / tracks.length : null;
  }

  // Sorting: null (unknown) comes last, ties by id.
  const orders = [["id", "id", () => 0]];
  if (scored) {
    orders.push(["ap", "AP, lowest first", apOf], ["ap-high", "AP, highest first", (v) => { const ap = apOf(v); return ap === null ? null : -ap; }]);
    orders.push(["errors", "number of errors", (v) => { const n = wrong(v); return n === null ? null : -n; }]);
    data.types.slice(1).concat("missed instances").forEach((name, place) => {
      orders.push([name.replace(/ /g, "-"), name, (v) => { const errors = errorsOf(v); return errors ? -errors[place + 1] : null; }]);
    });
  }
  orders.push(["longest", "duration, longest first", (v) => -v.end], ["shortest", "duration, shortest first", (v) => v.end]);

  function matches(video, text) {
    if (text && !video.id.toLowerCase().includes(text)) return false;
    if (state.classId < 0) return true;
    return video.tracks.some((track) => track.class === state.classId &&
      ((track.instances && track.instances.length > 0) || ((byId("detected").checked || !video.annotated) && track.start.length > 0)));
  }

  function updateList() {
    const text = byId("search").value.trim().toLowerCase();
    const key = orders.find((order) => order[0] === byId("sort").value)[2];
    const value = new Map(data.videos.map((video) => [video, key(video)]));
    const compare = (a, b) => {
      const [x, y] = [value.get(a), value.get(b)];
      if (x === null || y === null) return x === y ? (a.id < b.id ? -1 : 1) : x === null ? 1 : -1;
      return x - y || (a.id < b.id ? -1 : 1);
    };
    shown = data.videos.filter((video) => matches(video, text)).sort(compare);
    byId("list").replaceChildren(...shown.map((video, place) => {
      const item = element("li", { role: "option", id: `video-${place}`, "aria-selected": "false" });
      const ap = apOf(video), errors = wrong(video);
      const facts = [`${number(video.duration, 0)} s`];
      if (ap !== null) facts.unshift(`AP ${(100 * ap).toFixed(1)}`);
      if (errors !== null) facts.push(`${errors} errors`);
      if (!video.annotated && scored) facts.push("not annotated");
      item.append(element("b", {}, video.id), element("span", {}, facts.join(", ")));
      item.addEventListener("click", () => select(video));
      return item;
    }));
    byId("count").textContent = `${shown.length} of ${data.videos.length} videos`;
    markSelected(false);
  }

  function markSelected(scroll) {
    const list = byId("list"), place = shown.indexOf(state.video);
    for (const old of list.querySelectorAll("[aria-selected=true]")) old.setAttribute("aria-selected", "false");
    const item = list.children[place];
    if (item) {
      item.setAttribute("aria-selected", "true");
      list.setAttribute("aria-activedescendant", item.id);
      const above = item.offsetTop < list.scrollTop, below = item.offsetTop + item.offsetHeight > list.scrollTop + list.clientHeight;
      if (scroll || above || below) list.scrollTop = above ? item.offsetTop : below ? item.offsetTop + item.offsetHeight - list.clientHeight : list.scrollTop;
    } else {
      list.removeAttribute("aria-activedescendant");
    }
    byId("previous").disabled = place <= 0;
    byId("next").disabled = place >= shown.length - 1;
  }

  function address() {
    const parts = new URLSearchParams();
    if (state.video) parts.set("video", state.video.id);
    if (state.classId >= 0) parts.set("class", data.classes[state.classId]);
    if (scored && state.tiou !== data.tiou) parts.set("tiou", data.tious[state.tiou]);
    return "#" + parts.toString().replace(/\+/g, "%20");
  }

  function select(video) {
    if (video !== state.video) Object.assign(state, { video, from: 0, to: 1, picked: null, time: null, until: null });
    history.replaceState(null, "", address());
    markSelected(true);
    drawVideo();
  }
  function step(by) {
    const place = shown.indexOf(state.video) + by;
    if (shown.length) select(shown[Math.max(0, Math.min(shown.length - 1, place))]);
  }

  // Reads the address. Links without "=" are the page's own sections.
  function followAddress() {
    const text = location.hash.slice(1);
    if (text && !text.includes("=")) return false;
    const asked = new URLSearchParams(text);
    state.classId = asked.has("class") ? data.classes.indexOf(asked.get("class")) : -1;
    const tiou = data.tious.findIndex((value) => String(value) === asked.get("tiou"));
    state.tiou = tiou >= 0 ? tiou : data.tiou;
    byId("class").value = state.classId < 0 ? "" : String(state.classId);
    byId("tiou").value = String(state.tiou);
    updateList();
    const video = videos.get(asked.get("video"));
    select(video || shown[0] || data.videos[0]);
    const unknown = [["video", video], ["class", state.classId >= 0]].filter(([name, known]) => asked.has(name) && !known);
    if (unknown.length) byId("picked").textContent = `This page has no ${unknown.map(([name]) => `${name} "${asked.get(name)}"`).join(" and no ")}.`;
    return asked.has("video") || asked.has("class");
  }

  // ---- the selected video
  function visibleTracks(video) {
    const ordered = [...video.tracks].sort((a, b) => (b.class === state.classId) - (a.class === state.classId));
    if (byId("all-tracks").checked) return ordered;
    return state.classId >= 0 && ordered.some((track) => track.class === state.classId) ? ordered.slice(0, 1) : ordered.slice(0, FEW);
  }

  function drawVideo() {
    const video = state.video;
    byId("video-title").textContent = video.id;
    byId("link").setAttribute("href", address());
    const annotated = video.tracks.filter((track) => track.instances && track.instances.length);
    const facts = [`${number(video.duration, 1)} s`];
    facts.push(annotated.length ? `annotated: ${annotated.map((t) => `${data.classes[t.class]} (${t.instances.length})`).join(", ")}` : video.annotated ? "annotated: nothing occurs" : "no annotation");
    const errors = errorsOf(video), ap = apOf(video);
    if (ap !== null) facts.push(`AP ${(100 * ap).toFixed(1)} % at tIoU ${data.tious[state.tiou]} (${data.protocol})`);
    if (errors) facts.push(data.types.map((name, kind) => [errors[kind], name]).concat([[errors[MISSED], "missed"]]).filter(([n]) => n).map(([n, name]) => `${n} ${name}`).join(", "));
    if (video.hidden[0]) facts.push(`${video.hidden[0]} detections of ${video.hidden[1]} further classes are not on this page`);
    byId("facts").textContent = facts.filter((fact) => fact).join("; ");
    const few = visibleTracks({ tracks: video.tracks });
    byId("all-tracks").parentElement.hidden = !byId("all-tracks").checked && few.length === video.tracks.length;
    byId("all-tracks-text").textContent = `all ${video.tracks.length} classes`;
    const player = byId("player");
    if (player.dataset.video !== video.id) {
      player.dataset.video = video.id;
      player.hidden = !video.url;
      if (video.url) player.src = video.url; else player.removeAttribute("src");
    }
    drawTracks();
    drawRows();
  }

  const kindOf = (track, place) => (track.types ? track.types[state.tiou][place] : "-");
  const kindName = (letter) => (letter === "i" ? "ignored (ambiguous)" : letter === "-" ? "not scored" : data.types[Number(letter)]);
  const kindClass = (letter) => (letter === "0" ? "hit" : letter === "i" ? "ignored" : letter === "-" ? "plain" : "miss");
  const MARKS = ["✓", "2×", "label", "loc", "conf", "bg"]; // inside bars that are wide enough
  const span = () => [state.from * state.video.end, state.to * state.video.end];

  function drawTracks() {
    const video = state.video, width = printing ? 720 : Math.max(300, Math.floor(byId("tracks").clientWidth || 640));
    const scores = video.tracks.flatMap((track) => track.score);
    moves = [];
    const range = [scores.reduce((a, b) => Math.min(a, b), Infinity), scores.reduce((a, b) => Math.max(a, b), -Infinity)];
    byId("tracks").replaceChildren(...visibleTracks(video).map((track) => {
      const box = element("div", { class: "track" });
      const words = [];
      if (track.probability !== null) words.push(`video-level score ${track.probability.toFixed(2)}`);
      if (track.ap) words.push(`AP ${(100 * track.ap[state.tiou]).toFixed(1)} %`);
      if (track.curve && !track.eta.length) words.push("filtered out, not detected in this video");
      const head = element("h4", {}, data.classes[track.class]);
      if (words.length) head.append(element("span", {}, ` (${words.join("; ")})`));
      box.append(head, drawTrack(video, track, width, range));
      return box;
    }));
    byId("zoom-out").disabled = byId("left").disabled = byId("right").disabled = state.to - state.from >= 1;
  }

  function drawTrack(video, track, width, range) {
    const left = 62, right = width - 8, top = 6, high = track.curve ? 84 : 0, lane = top + high + 6;
    const truth = lane + 24, axis = truth + (track.instances ? 22 : 0), height = axis + 18, [t0, t1] = span();
    const x = (seconds) => left + ((seconds - t0) / (t1 - t0)) * (right - left);
    const label = `${data.classes[track.class]}: ${track.start.length} detections` + (track.instances ? `, ${track.instances.length} instances` : "") + `, ${t0.toFixed(1)} to ${t1.toFixed(1)} seconds`;
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    for (const [key, value] of Object.entries({ viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label })) svg.setAttribute(key, value);
    shape(shape(svg, "clipPath", { id: `clip-${track.class}` }), "rect", { x: left, y: 0, width: right - left, height });
    const inside = shape(svg, "g", { "clip-path": `url(#clip-${track.class})` });
    const ticks = niceTicks(t0, t1, (right - left) / 70);
    for (const tick of ticks) shape(inside, "line", { class: "grid", x1: x(tick), x2: x(tick), y1: top, y2: axis });
    if (track.curve) drawCurve(svg, inside, video, track, { x, top, high, left, right });
    for (const [start, end] of video.ambiguous) bar(inside, "ambiguous", x(start), x(end), truth, 16, `ambiguous, not scored: ${start} to ${end} s`);
    track.start.map((_, place) => place).reverse().forEach((place) => { // the best on top
      const letter = kindOf(track, place), certainty = range[1] > range[0] ? (track.score[place] - range[0]) / (range[1] - range[0]) : 1;
      const title = `${track.start[place]} to ${track.end[place]} s, score ${track.score[place]}, ${kindName(letter)}`;
      const [a, b] = [x(track.start[place]), x(track.end[place])];
      const rect = bar(inside, kindClass(letter), a, b, lane, 20, title);
      rect.setAttribute("fill-opacity", (0.35 + 0.65 * certainty).toFixed(3));
      if (state.picked && state.picked[0] === track && state.picked[1] === place) rect.classList.add("picked");
      rect.addEventListener("click", (event) => { event.stopPropagation(); pick(track, place); play(track.start[place], track.end[place]); });
      if (MARKS[letter] && b - a > 8 + 6 * MARKS[letter].length) shape(inside, "text", { x: (a + b) / 2, y: lane + 14, "text-anchor": "middle", "pointer-events": "none" }, MARKS[letter]);
    });
    (track.instances || []).forEach(([start, end], place) => {
      const missed = track.missed && track.missed[state.tiou][place] === "1";
      bar(inside, missed ? "missed" : "found", x(start), x(end), truth, 16, `instance ${start} to ${end} s${track.missed ? (missed ? ", missed" : ", found") : ""}`);
    });
    shape(svg, "text", { x: left - 6, y: lane + 14, "text-anchor": "end" }, "detected");
    if (track.instances) shape(svg, "text", { x: left - 6, y: truth + 12, "text-anchor": "end" }, "truth");
    shape(svg, "line", { class: "grid", x1: left, x2: right, y1: axis, y2: axis });
    for (const tick of ticks) shape(svg, "text", { x: x(tick), y: axis + 13, "text-anchor": x(tick) < left + 14 ? "start" : x(tick) > right - 14 ? "end" : "middle" }, `${Number(tick.toFixed(2))}${tick === ticks[ticks.length - 1] ? " s" : ""}`);
    if (state.time !== null) {
      const cursor = shape(inside, "line", { class: "cursor", x1: x(state.time), x2: x(state.time), y1: top, y2: axis });
      moves.push((seconds) => { cursor.setAttribute("x1", x(seconds)); cursor.setAttribute("x2", x(seconds)); });
    }
    svg.addEventListener("click", (event) => {
      const frame = svg.getBoundingClientRect(), at = ((event.clientX - frame.left) / frame.width) * width;
      if (at >= left && at <= right) play(t0 + ((at - left) / (right - left)) * (t1 - t0));
    });
    return svg;
  }

  function bar(parent, name, a, b, y, height, title) {
    const rect = shape(parent, "rect", { class: name, x: a.toFixed(2), width: Math.max(b - a, 1).toFixed(2), y, height });
    shape(rect, "title", {}, title);
    return rect;
  }

  function niceTicks(low, high, most) {
    const rough = (high - low) / Math.max(2, most), power = 10 ** Math.floor(Math.log10(rough));
    const size = [1, 2, 5, 10].map((factor) => factor * power).find((value) => value >= rough) || 10 * power;
    const ticks = [];
    for (let tick = Math.ceil(low / size); tick * size <= high + 1e-9; tick += 1) ticks.push(tick * size);
    return ticks.length ? ticks : [low];
  }

  // Steps, one per segment, or the band between the extremes of neighbours; shaded above the lowest threshold.
  function drawCurve(svg, inside, video, track, { x, top, high, left, right }) {
    const { group, low, data: packed } = track.curve, bytes = Uint8Array.from(atob(packed), (c) => c.charCodeAt(0));
    const scale = (track.curve.high - low) / 255, known = [low, track.curve.high, ...track.eta];
    const bottom = Math.min(...known), range = Math.max(...known) - bottom || 1;
    const y = (value) => top + 3 + (high - 6) * (1 - (value - bottom) / range);
    const value = (place) => low + scale * bytes[place], points = bytes.length / (group > 1 ? 2 : 1);
    const edge = (place) => x(video.curve[0] + video.curve[1] * group * place).toFixed(2);
    const steps = (height, places) => places.map((p) => `${edge(p)},${height(p)} ${edge(p + 1)},${height(p)}`).join(" ");
    const forward = [...Array(points).keys()], peak = (p) => (group > 1 ? value(2 * p + 1) : value(p));
    const eta = track.eta.length ? Math.min(...track.eta) : null;
    shape(svg, "rect", { class: "frame", x: left, y: top, width: right - left, height: high, fill: "none" }).setAttribute("fill-opacity", "0");
    if (eta !== null) shape(inside, "polygon", { class: "above", points: `${edge(0)},${y(eta)} ${steps((p) => y(Math.max(eta, peak(p))).toFixed(2), forward)} ${edge(points)},${y(eta)}` });
    if (group > 1) {
      const back = [...forward].reverse().map((p) => `${edge(p + 1)},${y(value(2 * p)).toFixed(2)} ${edge(p)},${y(value(2 * p)).toFixed(2)}`).join(" ");
      shape(inside, "polygon", { class: "band", points: `${steps((p) => y(peak(p)).toFixed(2), forward)} ${back}` });
    } else {
      shape(inside, "polyline", { class: "curve", points: steps((p) => y(value(p)).toFixed(2), forward) });
    }
    for (const one of track.eta) shape(inside, "line", { class: "eta", x1: left, x2: right, y1: y(one), y2: y(one) });
    shape(svg, "text", { x: left - 6, y: top + 10, "text-anchor": "end" }, Math.max(...known).toPrecision(3));
    shape(svg, "text", { x: left - 6, y: top + high - 1, "text-anchor": "end" }, bottom.toPrecision(3));
    if (eta !== null && y(eta) > top + 22 && y(eta) < top + high - 14) shape(svg, "text", { x: left - 6, y: y(eta) + 4, "text-anchor": "end" }, `η ${eta.toPrecision(2)}`);
  }

  function drawRows() {
    const rows = visibleTracks(state.video).flatMap((track) => track.start.map((_, place) => [track, place]));
    rows.sort((a, b) => b[0].score[b[1]] - a[0].score[a[1]]);
    const cut = rows.slice(0, MOST_ROWS);
    byId("rows-summary").textContent = `Detections as a table (${cut.length < rows.length ? `best ${cut.length} of ` : ""}${rows.length})`;
    const table = element("table"), head = element("tr");
    for (const name of ["class", "start [s]", "end [s]", "score", ...(scored ? ["type"] : []), ""]) head.append(element("th", { scope: "col", ...(name === "type" ? { class: "left" } : {}) }, name));
    const body = element("tbody");
    table.append(element("thead"), body);
    table.firstChild.append(head);
    for (const [track, place] of cut) {
      const row = element("tr"), cell = element("td"), button = element("button", { type: "button" }, "show");
      button.addEventListener("click", () => { zoomTo(track.start[place], track.end[place]); pick(track, place); play(track.start[place], track.end[place]); });
      cell.append(button);
      row.append(element("th", { scope: "row" }, data.classes[track.class]));
      for (const value of [track.start[place], track.end[place], track.score[place]]) row.append(element("td", {}, String(value)));
      if (scored) row.append(element("td", { class: "left" }, kindName(kindOf(track, place))));
      row.append(cell);
      body.append(row);
    }
    byId("rows").replaceChildren(table);
  }

  function pick(track, place) {
    state.picked = [track, place];
    byId("picked").textContent = `${data.classes[track.class]}: ${track.start[place]} to ${track.end[place]} s, score ${track.score[place]}` + (track.types ? `, ${kindName(kindOf(track, place))} at tIoU ${data.tious[state.tiou]}` : "");
    drawTracks();
  }
  // Marks a moment, and plays it where there is a video; a detection to its end.
  function play(seconds, until = null) {
    Object.assign(state, { time: Math.max(0, seconds), until });
    const player = byId("player");
    if (!player.hidden) {
      player.currentTime = state.time;
      player.play().catch(() => {}); // a browser may refuse; the video then stands at that moment
    }
    drawTracks();
  }
  function whilePlaying() {
    const player = byId("player");
    state.time = player.currentTime;
    if (state.until !== null && state.time >= state.until) {
      if (state.time < state.until + 1) player.pause(); // not where somebody has moved on by hand
      state.until = null;
    }
    // Not drawn anew: a click that begins on a bar and ends on its successor is none.
    if (moves.length) moves.forEach((move) => move(state.time)); else drawTracks();
  }

  // ---- the time axis
  function setSpan(from, to) {
    const size = Math.min(1, Math.max(to - from, Math.min(1, 2 / state.video.end)));
    const start = Math.max(0, Math.min(1 - size, (from + to - size) / 2));
    Object.assign(state, { from: start, to: start + size });
    drawTracks();
  }
  function zoom(factor) {
    const size = (state.to - state.from) * factor;
    const focus = state.time === null ? (state.from + state.to) / 2 : Math.min(state.to, Math.max(state.from, state.time / state.video.end));
    setSpan(focus - size / 2, focus + size / 2);
  }
  const pan = (by) => { const size = state.to - state.from; setSpan(state.from + by * size, state.to + by * size); };
  function zoomTo(start, end) {
    const margin = Math.max(10, 2 * (end - start));
    setSpan((start - margin) / state.video.end, (end + margin) / state.video.end);
  }

  // ---- set-up
  function legend() {
    const box = byId("legend"), swatch = (name, text, line = false) => {
      const entry = element("span"), svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
      svg.setAttribute("width", "26"); svg.setAttribute("height", "14");
      if (line) shape(svg, "line", { class: name, x1: 1, x2: 25, y1: 7, y2: 7 }); else shape(svg, "rect", { class: name, x: 1, y: 1, width: 24, height: 12 });
      entry.append(svg, text);
      box.append(entry);
    };
    if (data.videos.some((video) => video.curve)) { swatch("curve", "T-CAM", true); swatch("eta", "threshold η", true); }
    if (scored) { swatch("hit", "✓ true positive"); swatch("miss", "false positive (2× double detection, label wrong label, loc localization, conf confusion, bg background)"); } else swatch("plain", "detection");
    if (data.videos.some((video) => video.annotated)) swatch("found", scored ? "instance, found" : "instance");
    if (scored) swatch("missed", "instance, missed");
    if (data.videos.some((video) => video.ambiguous.length)) swatch("ambiguous", "ambiguous, not scored");
    box.append("Detections: a stronger colour is a higher score.");
    const defs = shape(shape(box, "svg", { width: 0, height: 0 }), "defs");
    const hatch = shape(defs, "pattern", { id: "hatch", width: 6, height: 6, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" });
    shape(hatch, "rect", { width: 6, height: 6, fill: "#fff" });
    shape(hatch, "line", { id: "hatch-lines", x1: 2, x2: 2, y1: 0, y2: 6 });
    const dots = shape(defs, "pattern", { id: "dots", width: 5, height: 5, patternUnits: "userSpaceOnUse" });
    shape(dots, "rect", { width: 5, height: 5, fill: "#eee" });
    shape(dots, "circle", { cx: 2.5, cy: 2.5, r: 1, fill: "#666" });
  }

  function keys(event) {
    const target = event.target, typing = target.matches("input[type=search], select, textarea, video");
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (typing) { if (event.key === "Escape") target.blur(); return; }
    const inList = target === byId("list"), size = shown.length;
    const actions = new Map([["j", () => step(1)], ["k", () => step(-1)], ["+", () => zoom(0.5)], ["=", () => zoom(0.5)], ["-", () => zoom(2)], ["0", () => setSpan(0, 1)],
      ["/", () => byId("search").focus()]]);
    if (inList) [["ArrowDown", 1], ["ArrowUp", -1], ["Home", -size], ["End", size]].forEach(([key, by]) => actions.set(key, () => step(by)));
    if (state.to - state.from < 1) { actions.set("ArrowLeft", () => pan(-0.5)); actions.set("ArrowRight", () => pan(0.5)); }
    const action = actions.get(event.key);
    if (action && state.video) { event.preventDefault(); action(); }
  }

  function start() {
    data.classes.forEach((name, place) => byId("class").append(element("option", { value: place }, name)));
    data.tious.forEach((tiou, place) => byId("tiou").append(element("option", { value: place }, String(tiou))));
    byId("tiou-label").hidden = !scored;
    byId("detected").parentElement.hidden = !data.videos.some((video) => video.annotated);
    orders.forEach(([value, text]) => byId("sort").append(element("option", { value }, text)));
    const choose = () => {
      state.classId = byId("class").value === "" ? -1 : Number(byId("class").value);
      state.tiou = scored ? Number(byId("tiou").value) : 0;
      updateList();
      if (shown.length && !shown.includes(state.video)) select(shown[0]); else if (state.video) select(state.video);
    };
    for (const id of ["class", "detected", "sort", "tiou"]) byId(id).addEventListener("change", choose);
    byId("search").addEventListener("input", choose);
    byId("controls").addEventListener("submit", (event) => event.preventDefault());
    byId("previous").addEventListener("click", () => step(-1));
    byId("next").addEventListener("click", () => step(1));
    byId("zoom-in").addEventListener("click", () => zoom(0.5));
    byId("zoom-out").addEventListener("click", () => zoom(2));
    byId("left").addEventListener("click", () => pan(-0.5));
    byId("right").addEventListener("click", () => pan(0.5));
    byId("all-tracks").addEventListener("change", drawVideo);
    byId("player").addEventListener("timeupdate", whilePlaying);
    document.addEventListener("keydown", keys);
    let waiting = 0;
    window.addEventListener("resize", () => { clearTimeout(waiting); waiting = setTimeout(() => state.video && drawTracks(), 100); });
    window.addEventListener("hashchange", () => { if (followAddress()) byId("videos").scrollIntoView(); });
    const closed = new Set();
    const print = (now) => { printing = now; if (state.video) drawTracks(); };
    window.addEventListener("beforeprint", () => {
      document.querySelectorAll("details:not([open])").forEach((one) => { closed.add(one); one.open = true; });
      print(true);
    });
    window.addEventListener("afterprint", () => {
      closed.forEach((one) => { one.open = false; });
      closed.clear();
      print(false);
    });
    legend();
    if (!data.videos.length) { byId("count").textContent = "no videos"; return; }
    const asked = followAddress();
    if (!state.video) { updateList(); state.video = shown[0]; markSelected(false); drawVideo(); }
    if (asked) byId("videos").scrollIntoView();
  }
  start();
})();
