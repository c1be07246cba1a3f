"use strict";

// Everything is written as text, never as markup: names and answers come from configurations and models.
function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function pretty(value) {
  return JSON.stringify(value, null, 2);
}

function schemaOf(part, schemas) {
  const schema = part && part.content && part.content["application/json"].schema;
  const name = schema && schema.$ref && schema.$ref.split("/").pop();
  return name ? { name, schema: schemas[name] } : null;
}

function snippets(url, body) {
  const quoted = body.replaceAll("'", "'\\''");
  const curl = `curl -s ${url} \\\n  -H 'Content-Type: application/json' \\\n  -d '${quoted}'`;
  const python = `import json, urllib.request\n\nbody = json.dumps(json.loads(r'''${body}''')).encode()\n` +
    `request = urllib.request.Request("${url}", body, {"Content-Type": "application/json"})\n` +
    "print(urllib.request.urlopen(request).read().decode())";
  return { curl, python };
}

async function send(url, verb, body, output) {
  const begin = performance.now();
  output.textContent = "...";
  try {
    const options = verb === "post"
      ? { method: "POST", headers: { "Content-Type": "application/json" }, body }
      : {};
    const response = await fetch(url, options);
    const text = await response.text();
    const time = (performance.now() - begin).toFixed(1);
    let shown = text;
    try { shown = pretty(JSON.parse(text)); } catch { /* not JSON: shown as it is */ }
    output.textContent = `${response.status} ${response.statusText}, ${time} ms\n${shown}`;
  } catch (error) {
    output.textContent = String(error);
  }
}

function addTrial(place, url, verb, operation) {
  const output = element("pre");
  const button = element("button", "Send");
  let area = null;
  if (verb === "post") {
    const sample = operation.requestBody.content["application/json"].example;
    area = element("textarea", pretty(sample));
    const curl = element("pre");
    const python = element("pre");
    const update = () => {
      const made = snippets(url, area.value);
      curl.textContent = made.curl;
      python.textContent = made.python;
    };
    area.addEventListener("input", update);
    update();
    place.append(element("h3", "Request"), area, button, output);
    place.append(element("h3", "curl"), curl, element("h3", "Python"), python);
  } else {
    place.append(button, output);
  }
  button.addEventListener("click", () => send(url, verb, area && area.value, output));
}

function addPath(place, path, verb, operation, schemas) {
  const details = element("details", undefined, "path");
  const summary = element("summary");
  const text = element("span", ` ${operation.summary}`, "text");
  summary.append(element("span", verb.toUpperCase(), `verb ${verb}`), element("code", path), text);
  details.append(summary);
  // Built when first opened: a server with many paths is still a light page.
  details.addEventListener("toggle", () => {
    if (details.childElementCount > 1) return;
    addTrial(details, new URL(path.slice(1), document.baseURI).href, verb, operation);
    for (const [title, part] of [["Takes", operation.requestBody], ["Gives", operation.responses["200"]]]) {
      const found = schemaOf(part, schemas);
      if (found) details.append(element("h3", `${title} ${found.name}`), element("pre", pretty(found.schema)));
    }
  });
  place.append(details);
}

async function main() {
  const place = document.getElementById("paths");
  const response = await fetch("openapi.json");
  const content = await response.json();
  if (!response.ok) {
    place.textContent = content.error;
    return;
  }
  const sections = new Map();
  for (const [path, operations] of Object.entries(content.paths)) {
    for (const [verb, operation] of Object.entries(operations)) {
      const tag = operation.tags[0];
      if (!sections.has(tag)) sections.set(tag, []);
      sections.get(tag).push([path, verb, operation]);
    }
  }
  // Models before the server's own paths, and questions before descriptions.
  const tags = [...sections.keys()].sort((a, b) => (a === "server") - (b === "server"));
  for (const tag of tags) {
    const section = element("section");
    section.append(element("h2", tag));
    const rows = sections.get(tag).sort((a, b) => (a[1] === "get") - (b[1] === "get"));
    for (const [path, verb, operation] of rows) {
      addPath(section, path, verb, operation, content.components.schemas);
    }
    place.append(section);
  }
}

main();
