"use strict";
// Shows /api/openapi.json. Everything is put in as text, never as HTML.

const METHODS = ["get", "post", "put", "patch", "delete"];

function node(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) made.setAttribute(key, value);
  for (const child of children.flat()) {
    if (child !== null && child !== undefined) made.append(child);
  }
  return made;
}

function resolve(spec, value) {
  for (let depth = 0; value && value.$ref && depth < 16; depth += 1) {
    value = value.$ref.slice(2).split("/").reduce((at, part) => at && at[part.replace(/~1/g, "/").replace(/~0/g, "~")], spec);
  }
  return value || {};
}

// One value that fits a schema.
function example(spec, schema, depth = 0) {
  schema = resolve(spec, schema);
  if (schema.example !== undefined) return schema.example;
  if (schema.examples && schema.examples.length) return schema.examples[0];
  if (schema.default !== undefined) return schema.default;
  if (schema.enum) return schema.enum[0];
  if (schema.const !== undefined) return schema.const;
  if (depth > 6) return null;
  const one = (schema.oneOf || schema.anyOf || []).find((it) => resolve(spec, it).type !== "null");
  if (one) return example(spec, one, depth + 1);
  if (schema.allOf) return Object.assign({}, ...schema.allOf.map((it) => example(spec, it, depth + 1)));
  const type = [].concat(schema.type || []).find((it) => it !== "null");
  if (type === "object" || schema.properties) {
    const entries = Object.entries(schema.properties || {});
    return Object.fromEntries(entries.map(([key, value]) => [key, example(spec, value, depth + 1)]));
  }
  if (type === "array") return [example(spec, schema.items || {}, depth + 1)];
  return { string: "string", integer: 0, number: 0, boolean: true }[type] ?? null;
}

// The example of a body, as it was written or made from its schema.
function bodyText(spec, content) {
  let value = content.example;
  const examples = Object.values(content.examples || {});
  if (value === undefined && examples.length) value = resolve(spec, examples[0]).value;
  if (value === undefined) value = example(spec, content.schema || {});
  return typeof value === "string" ? value : JSON.stringify(value, null, 2);
}

function quoted(text) {
  return "'" + text.replace(/'/g, "'\\''") + "'";
}

function curl(spec, method, path, operation, parameters) {
  const filled = path.replace(/\{(\w+)\}/g, (whole, name) => {
    const parameter = parameters.find((it) => it.in === "path" && it.name === name) || {};
    const value = parameter.example ?? example(spec, parameter.schema || {});
    return value === null || value === "string" ? whole : encodeURIComponent(value);
  });
  const lines = [`curl ${quoted(location.origin + filled)}`];
  if (method !== "get") lines.push(`  -X ${method.toUpperCase()}`);
  const isOpen = operation.security && operation.security.every((it) => Object.keys(it).length === 0);
  if (!isOpen) lines.push('  -H "Authorization: Bearer $TOKEN"');
  const [type, content] = Object.entries((resolve(spec, operation.requestBody).content) || {})[0] || [];
  if (type) {
    lines.push(`  -H ${quoted("Content-Type: " + type)}`, `  -d ${quoted(bodyText(spec, content))}`);
  }
  return lines.join(" \\\n");
}

function table(heads, rows) {
  const cells = (name, row) => node("tr", null, row.map((it) => node(name, null, it)));
  return node("table", null, cells("th", heads), rows.map((row) => cells("td", row)));
}

function typeOf(spec, schema) {
  const found = resolve(spec, schema);
  const name = [].concat(found.type || "").filter((it) => it !== "null").join(" | ");
  const range = [found.minimum, found.maximum].filter((it) => it !== undefined).join("…");
  return [name, found.format, range, (found.enum || []).join(" | ")].filter(Boolean).join(" ");
}

function route(spec, method, path, operation, shared) {
  const parameters = [...(shared || []), ...(operation.parameters || [])].map((it) => resolve(spec, it));
  const inside = [node("p", null, operation.description || "")];
  if (parameters.length) {
    const rows = parameters.map((it) => [
      node("code", null, it.name), it.in + (it.required ? ", required" : ""), typeOf(spec, it.schema), it.description || "",
    ]);
    inside.push(node("h3", null, "Parameters"), table(["Name", "In", "Type", "About"], rows));
  }
  inside.push(node("h3", null, "Example"), node("pre", null, curl(spec, method, path, operation, parameters)));
  inside.push(node("h3", null, "Answers"));
  for (const [status, answer] of Object.entries(operation.responses || {})) {
    const found = resolve(spec, answer);
    inside.push(node("p", null, node("code", null, status), " ", found.description || ""));
    for (const [type, content] of Object.entries(found.content || {})) {
      if (status !== "default" && type.includes("json")) inside.push(node("pre", null, bodyText(spec, content)));
    }
  }
  const made = node("details", { id: `${method}:${path}` },
    node("summary", null,
      node("span", { class: `method ${method}` }, method.toUpperCase()), node("code", null, path),
      node("span", { class: "about" }, operation.summary || "")),
    node("div", null, inside));
  made.dataset.text = `${method} ${path} ${operation.summary || ""} ${operation.description || ""}`.toLowerCase();
  return made;
}

function show(spec) {
  document.getElementById("title").textContent = `${spec.info.title} ${spec.info.version}`;
  document.getElementById("about").textContent = spec.info.description || "";
  const groups = new Map((spec.tags || []).map((tag) => [tag.name, { about: tag.description, routes: [] }]));
  for (const [path, item] of Object.entries(spec.paths)) {
    for (const method of METHODS.filter((it) => item[it])) {
      const tag = (item[method].tags || ["other"])[0];
      if (!groups.has(tag)) groups.set(tag, { about: "", routes: [] });
      groups.get(tag).routes.push(route(spec, method, path, item[method], item.parameters));
    }
  }
  const main = document.getElementById("routes");
  main.replaceChildren();
  for (const [tag, group] of groups) {
    if (group.routes.length) {
      main.append(node("section", null, node("h2", null, tag), node("p", { class: "about" }, group.about || ""), group.routes));
    }
  }
  document.getElementById("filter").addEventListener("input", (event) => {
    const words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const made of main.querySelectorAll("details")) {
      made.hidden = !words.every((word) => made.dataset.text.includes(word));
    }
  });
  const linked = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (linked) { linked.open = true; linked.scrollIntoView(); }
}

fetch("/api/openapi.json")
  .then((answer) => (answer.ok ? answer.json() : Promise.reject(new Error(`status ${answer.status}`))))
  .then(show)
  .catch((error) => { document.getElementById("routes").textContent = `The description cannot be read: ${error.message}`; });
