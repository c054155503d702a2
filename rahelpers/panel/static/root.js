// The page around the panel: its language and, if the panel is the only thing on it, its title.
function render({ model, el }) {
  if (!document.documentElement.lang) document.documentElement.lang = "en";
  if (document.body.dataset.voila) document.title = model.get("title");
  const banner = document.createElement("div");
  banner.className = "ra-banner";
  banner.setAttribute("role", "note");
  banner.textContent = model.get("banner");
  el.classList.add("ra-root");
  el.append(banner);
}

export default { render };
