// Three conveniences; every page can be read without them.
"use strict";

// What changes by itself is fetched anew, unless somebody has the focus in it.
for (const part of document.querySelectorAll("[data-refresh]")) {
  setInterval(async () => {
    if (document.hidden || part.contains(document.activeElement)) return;
    const answer = await fetch(part.dataset.refresh).catch(() => null);
    if (answer && answer.ok && !answer.redirected) part.innerHTML = await answer.text();
  }, 1000 * Number(part.dataset.every));
}

// Arrow keys lead to the frames before and after.
document.addEventListener("keydown", (event) => {
  const busy = event.target.closest("input, select, textarea, #space, [role=region]");
  if (busy || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
  const rel = { ArrowLeft: "prev", ArrowRight: "next" }[event.key];
  const link = rel && document.querySelector(`a[rel=${rel}]`);
  if (link) { event.preventDefault(); link.click(); }
});

// The skeleton in 3-D.
const space = document.getElementById("space");
if (space) {
  const { limbs, points } = JSON.parse(space.dataset.places);
  const known = Object.values(points).flat().filter(Boolean);
  const middle = [0, 1, 2].map((axis) => known.reduce((sum, point) => sum + point[axis], 0) / known.length);
  const size = Math.max(...known.map((point) => Math.hypot(...point.map((value, axis) => value - middle[axis]))), 1e-9);
  let turn = 0.6, tilt = 0.35;
  const make = (name, values) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(values)) element.setAttribute(key, value);
    return element;
  };
  const place = (point) => {
    const [x, y, z] = point.map((value, axis) => (value - middle[axis]) * 85 / size);
    const across = x * Math.cos(turn) - y * Math.sin(turn), away = x * Math.sin(turn) + y * Math.cos(turn);
    return [across, -(z * Math.cos(tilt) - away * Math.sin(tilt))];
  };
  const draw = () => {
    space.replaceChildren();
    for (const [name, of] of Object.entries(points)) {
      const group = make("g", { class: name });
      for (const [a, b] of limbs) {
        if (!of[a] || !of[b]) continue;
        const [x1, y1] = place(of[a]), [x2, y2] = place(of[b]);
        group.append(make("path", { d: `M${x1} ${y1}L${x2} ${y2}` }));
      }
      for (const point of of.filter(Boolean)) {
        const [cx, cy] = place(point);
        group.append(make("circle", { cx, cy, r: 1.6 }));
      }
      space.append(group);
    }
  };
  let from = null;
  space.addEventListener("pointerdown", (event) => { from = [event.clientX, event.clientY]; space.setPointerCapture(event.pointerId); });
  space.addEventListener("pointermove", (event) => {
    if (!from) return;
    turn += (event.clientX - from[0]) / 120; tilt += (event.clientY - from[1]) / 120;
    from = [event.clientX, event.clientY];
    draw();
  });
  space.addEventListener("pointerup", () => { from = null; });
  space.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [-0.15, 0], ArrowRight: [0.15, 0], ArrowUp: [0, -0.15], ArrowDown: [0, 0.15] }[event.key];
    if (!step) return;
    event.preventDefault();
    turn += step[0]; tilt += step[1];
    draw();
  });
  draw();
}
