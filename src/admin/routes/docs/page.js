"use strict";
// Filters what the page shows, and opens what is linked to; without it everything is there too.

const filter = document.getElementById("filter");
filter.hidden = false;
filter.addEventListener("input", () => {
  const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const route of document.querySelectorAll("details")) {
    const text = route.textContent.toLowerCase();
    route.hidden = !words.every((word) => text.includes(word));
  }
});

function openLinked() {
  const linked = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (linked && linked.tagName === "DETAILS") { linked.open = true; linked.scrollIntoView(); }
}
addEventListener("hashchange", openLinked);
openLinked();
