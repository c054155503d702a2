// Choose or drop films. Each goes to the kernel in pieces, the next when the last has arrived: no message is large, and progress is true.
const PIECE = 2_000_000;

function render({ model, el }) {
  const input = document.createElement("input");
  Object.assign(input, { type: "file", multiple: true, accept: model.get("accept"), id: `ra-file-${crypto.getRandomValues(new Uint32Array(1))[0]}` });
  input.className = "ra-file";
  const label = document.createElement("label");
  label.htmlFor = input.id;
  label.className = "ra-drop";
  const title = document.createElement("strong");
  title.textContent = "Choose films, or drop them here";
  const hint = document.createElement("span");
  hint.textContent = model.get("hint");
  label.append(title, hint);
  const status = document.createElement("p");
  status.className = "ra-status";
  status.setAttribute("role", "status");
  el.classList.add("ra-dropzone");
  el.append(input, label, status);

  let batch = 0, wake = null;
  model.on("msg:custom", (message) => {
    if (message.kind === "got" && message.batch === batch && wake) wake();
    if (message.kind === "forget") status.textContent = "";
  });

  async function send(files) {
    const mine = ++batch;
    if (files.length > model.get("most_files")) {
      status.textContent = `${files.length} files; expected at most ${model.get("most_files")} at once.`;
      return;
    }
    for (const [index, file] of files.entries()) {
      if (file.size > model.get("most_bytes")) {
        status.textContent = `${file.name}: ${(file.size / 1e6).toFixed(0)} MB; expected at most ${(model.get("most_bytes") / 1e6).toFixed(0)} MB.`;
        return;
      }
      for (let at = 0; at === 0 || at < file.size; at += PIECE) {
        const piece = await file.slice(at, at + PIECE).arrayBuffer();
        if (mine !== batch) return; // other files were chosen meanwhile
        const arrived = new Promise((done) => { wake = done; });
        model.send({ kind: "piece", batch: mine, index, files: files.length, name: file.name, size: file.size, at }, undefined, [piece]);
        await arrived;
        status.textContent = `Reading ${file.name}: ${Math.round((100 * Math.min(at + PIECE, file.size)) / Math.max(file.size, 1))} %`;
      }
    }
    status.textContent = files.length === 1 ? `${files[0].name} was read.` : `${files.length} files were read.`;
    input.value = ""; // the same file may be chosen again
  }

  input.addEventListener("change", () => { if (input.files.length) send([...input.files]); });
  for (const event of ["dragenter", "dragover"]) label.addEventListener(event, (e) => { e.preventDefault(); e.stopPropagation(); label.classList.add("ra-over"); });
  for (const event of ["dragleave", "drop"]) label.addEventListener(event, (e) => { e.preventDefault(); e.stopPropagation(); label.classList.remove("ra-over"); });
  label.addEventListener("drop", (e) => { if (e.dataTransfer.files.length) send([...e.dataTransfer.files]); });
}

export default { render };
