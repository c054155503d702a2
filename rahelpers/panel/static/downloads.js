// Buttons that ask the kernel for a file and hand it to the browser; nothing is written to the
// server's disk.
function render({ model, el }) {
  el.classList.add("ra-downloads");
  const status = document.createElement("span");
  status.className = "ra-status";
  status.setAttribute("role", "status");
  function build() {
    const buttons = model.get("offers").map(([kind, words, hint]) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = words;
      button.title = hint;
      button.disabled = model.get("disabled");
      button.addEventListener("click", () => {
        status.textContent = "Making the file …";
        model.send({ kind: "make", what: kind });
      });
      return button;
    });
    el.replaceChildren(...buttons, status);
  }
  model.on("msg:custom", (message, buffers) => {
    if (message.kind === "failed") status.textContent = message.words;
    if (message.kind !== "file") return;
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([buffers[0]], { type: message.type }));
    link.download = message.name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
    status.textContent = `${message.name} was saved to the browser's download folder.`;
  });
  model.on("change:offers", build);
  model.on("change:disabled", build);
  build();
}

export default { render };
