// Choose or drop films. Each goes to the kernel in pieces, the next one when the previous one has
// arrived: no message is large, and the progress shown is real.
const PIECE = 2_000_000;

function render({ model, el }) {
  const input = document.createElement("input");
  input.id = `ra-file-${crypto.getRandomValues(new Uint32Array(1))[0]}`;
  Object.assign(input, { type: "file", multiple: true, accept: model.get("accept") });
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
    const mine = ++batch, mostFiles = model.get("most_files"), mostBytes = model.get("most_bytes");
    const megabytes = (bytes) => (bytes / 1e6).toFixed(0);
    if (files.length > mostFiles) {
      status.textContent = `${files.length} files; expected at most ${mostFiles} at once.`;
      return;
    }
    for (const [index, file] of files.entries()) {
      if (file.size > mostBytes) {
        status.textContent =
          `${file.name}: ${megabytes(file.size)} MB; expected at most ${megabytes(mostBytes)} MB.`;
        return;
      }
      for (let at = 0; at === 0 || at < file.size; at += PIECE) {
        const piece = await file.slice(at, at + PIECE).arrayBuffer();
        if (mine !== batch) return; // other files have been chosen meanwhile
        const arrived = new Promise((done) => { wake = done; });
        const { name, size } = file;
        const message = { kind: "piece", batch: mine, index, files: files.length, name, size, at };
        model.send(message, undefined, [piece]);
        await arrived;
        const share = Math.min(at + PIECE, size) / Math.max(size, 1);
        status.textContent = `Reading ${name}: ${Math.round(100 * share)} %`;
      }
    }
    const read = files.length === 1 ? `${files[0].name} was` : `${files.length} files were`;
    status.textContent = `${read} read.`;
    input.value = ""; // the same file may be chosen again
  }

  input.addEventListener("change", () => { if (input.files.length) send([...input.files]); });
  for (const event of ["dragenter", "dragover", "dragleave", "drop"]) {
    label.addEventListener(event, (e) => {
      e.preventDefault();
      e.stopPropagation();
      label.classList.toggle("ra-over", event === "dragenter" || event === "dragover");
    });
  }
  label.addEventListener("drop", (e) => {
    if (e.dataTransfer.files.length) send([...e.dataTransfer.files]);
  });
}

export default { render };
