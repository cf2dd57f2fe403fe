/* ABSwitch: several versions of one sound that run in sync; one is audible. */
import { Timeline, waveform } from "./timeline.js";
import { choice, h, KEYS, widget } from "./view.js";

export default widget(({ model, engine, root, bar }) => {
  const names = () => model.get("_names");
  const lane = waveform(engine.buffers[0], 56);
  const line = ({ draw, width, height }, { color }) => {
    draw.fillStyle = color;
    draw.fillRect(0, height / 2, width, 1);
  };
  const hidden = { height: 24, draw: line }; // a waveform would show which version it is
  const timeline = new Timeline(engine, [model.get("blind") ? hidden : lane], "Position");
  const hear = (place) => {
    engine.choose(place);
    lane.buffer = engine.buffers[place];
    timeline.draw();
    said.textContent = `Now: ${names()[place]}`;
    if (model.get("selected") === place) return;
    model.set("selected", place);
    model.save_changes();
  };
  const said = h("span", { className: "ms-note", role: "status" });
  const group = h("div", {});
  const show = (select) => {
    select = choice("What is heard", names(), model.get("selected"), hear);
    group.replaceChildren(select.element);
    return select;
  };
  let select = show();
  const reveal = h("button", {
    textContent: "Reveal",
    hidden: !model.get("blind"),
    onclick: () => model.send({ kind: "reveal" }),
  });
  const revealed = () => {
    reveal.hidden = true;
    timeline.setLane(0, lane);
    select = show();
    hear(model.get("selected"));
  };
  const chosen = () => select.choose(model.get("selected"));
  model.on("change:_names", revealed);
  model.on("change:selected", chosen);
  bar.lastChild.before(said, reveal);
  root.append(group, timeline.element, h("p", { className: "ms-note" }, KEYS("1–9: switch")));
  hear(model.get("selected"));
  const keys = { ...timeline.keys };
  names().forEach((_, i) => (keys[i + 1] = () => select.choose(i)));
  const done = () => {
    model.off("change:_names", revealed);
    model.off("change:selected", chosen);
    timeline.close();
  };
  return { keys, tick: () => timeline.tick(), done };
});
