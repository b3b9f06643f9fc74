#pragma once
// The report's style sheet: system fonts, light and dark, screen, telephone and paper.

namespace entrain::lab {

constexpr const char* kReportStyle = R"css(
:root {
  color-scheme: light dark;
  --paper: #ffffff; --panel: #f5f6f8; --ink: #1c1e22; --muted: #5b616b; --rule: #d8dbe0; --accent: #2b5ea8;
  --good: #1a7048; --bad: #b02a3c; --same: #2b5ea8; --open: #5b616b; --warn: #8a5a00; --warn-panel: #fdf6e7;
  --arm-1: #2463b5; --arm-2: #c8591a; --arm-3: #1f8a5b; --arm-4: #8a4fb8; --arm-5: #b8324f; --arm-6: #0b8494; --arm-7: #8f6c00; --arm-8: #6b6f76;
}
@media screen and (prefers-color-scheme: dark) {
  :root {
    --paper: #16181c; --panel: #1e2126; --ink: #e4e6ea; --muted: #a2a9b4; --rule: #353a42; --accent: #8ab4f0;
    --good: #6ccb98; --bad: #f28b99; --same: #8ab4f0; --open: #a2a9b4; --warn: #e3bb6a; --warn-panel: #272219;
    --arm-1: #7fb0f0; --arm-2: #f0975e; --arm-3: #63c99a; --arm-4: #c49be8; --arm-5: #f08aa0; --arm-6: #5cc4d2; --arm-7: #d9b64a; --arm-8: #a9aeb6;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
.page { max-width: 66rem; margin: 0 auto; padding: clamp(1.5rem, 4vw, 3.5rem) clamp(1rem, 4vw, 2.5rem) 4rem; }
h1, h2, h3 { line-height: 1.2; text-wrap: balance; overflow-wrap: anywhere; letter-spacing: -0.01em; }
h1 { font-size: clamp(1.6rem, 1.2rem + 2.2vw, 2.4rem); font-weight: 650; margin: 0.2rem 0 1.2rem; max-width: 32em; }
h2 { font-size: 1.3rem; font-weight: 650; margin: 3.2rem 0 0.8rem; padding-top: 1rem; border-top: 1px solid var(--rule); }
h3 { font-size: 1.05rem; font-weight: 600; margin: 2rem 0 0.6rem; }
p, ul, ol, dl { margin: 0 0 0.9rem; max-width: 46rem; overflow-wrap: anywhere; }
a { color: var(--accent); text-underline-offset: 0.15em; }
sup { font-size: 0.72em; line-height: 0; }
code, pre { font: 0.86rem/1.55 ui-monospace, "SF Mono", "Cascadia Mono", Menlo, Consolas, monospace; }
pre { margin: 0.6rem 0; padding: 0.9rem 1rem; background: var(--panel); border-radius: 6px; overflow-x: auto; max-width: 100%; }
.kicker, .note, figcaption, caption { color: var(--muted); font-size: 0.9rem; }
.kicker { margin: 0; }
nav ul { display: flex; flex-wrap: wrap; gap: 0.2rem 1.1rem; list-style: none; padding: 0; margin: 0; max-width: none; font-size: 0.9rem; }
.decision { list-style: none; padding: 0; margin: 1.2rem 0; max-width: 50rem; }
.decision li { font-size: clamp(1.1rem, 1rem + 0.6vw, 1.3rem); line-height: 1.45; padding: 0.5rem 0 0.5rem 1.1rem; margin: 0 0 0.7rem; border-left: 4px solid var(--open); }
.decision .better { border-color: var(--good); } .decision .worse { border-color: var(--bad); } .decision .equivalent { border-color: var(--same); }
h2.first { border: 0; margin: 1.6rem 0 0; padding: 0; font-size: 0.9rem; font-weight: 600; color: var(--muted); letter-spacing: 0; }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 13rem), 1fr)); gap: 0.7rem 1.6rem; max-width: none; font-size: 0.94rem; margin: 1.4rem 0; }
.facts dt { color: var(--muted); font-size: 0.84rem; }
.facts dd { margin: 0; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.cautions { background: var(--warn-panel); border-left: 4px solid var(--warn); border-radius: 0 6px 6px 0; padding: 0.9rem 1.2rem; margin: 1.6rem 0; }
.cautions h2 { border: 0; margin: 0 0 0.4rem; padding: 0; font-size: 1rem; }
.cautions ul { margin: 0; padding-left: 1.1rem; }
.cautions p { margin: 0; }
.tag { display: inline-block; font-size: 0.78rem; font-weight: 600; letter-spacing: 0; padding: 0.1rem 0.55rem; border-radius: 1rem; border: 1px solid currentColor; vertical-align: 0.2em; white-space: nowrap; }
.better { color: var(--good); } .worse { color: var(--bad); } .equivalent { color: var(--same); } .undecided { color: var(--open); }
.decision li { color: var(--ink); }
.declared { color: var(--good); } .exploratory { color: var(--warn); }
.verdict { font-weight: 600; }
.edge { color: var(--warn); font-weight: 600; white-space: nowrap; }
.scroll { overflow-x: auto; margin: 0.8rem 0 1.4rem; -webkit-overflow-scrolling: touch; }
.scroll:focus-visible, pre:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
table { border-collapse: collapse; font-size: 0.88rem; line-height: 1.4; font-variant-numeric: tabular-nums; min-width: 100%; }
caption { text-align: left; padding: 0 0 0.5rem; }
caption > span { display: inline-block; position: sticky; left: 0; max-width: min(46rem, calc(100vw - 2 * clamp(1rem, 4vw, 2.5rem))); }
th, td { text-align: left; vertical-align: top; padding: 0.42rem 0.9rem 0.42rem 0; border-bottom: 1px solid var(--rule); }
thead th { font-weight: 600; color: var(--muted); vertical-align: bottom; font-size: 0.82rem; border-bottom: 1.5px solid var(--muted); min-width: 4.2rem; }
tbody th { font-weight: 600; position: sticky; left: 0; background: var(--paper); min-width: clamp(6.5rem, 20vw, 9.5rem); max-width: 14rem; overflow-wrap: anywhere; }
.number { text-align: right; } td.number { white-space: nowrap; }
.text { min-width: 7rem; max-width: 22rem; overflow-wrap: anywhere; }
.range { color: var(--muted); white-space: nowrap; display: block; font-size: 0.94em; }
.text .range, tbody th .range { white-space: normal; } tbody th .range { font-weight: 400; }
.error { display: block; min-width: 14rem; max-width: 22rem; white-space: pre-wrap; overflow-wrap: anywhere; }
.state-failed { color: var(--bad); font-weight: 600; } .state-done { color: var(--good); } .state-stopped { color: var(--warn); } .state-running { color: var(--same); }
.time { white-space: nowrap; }
figure { margin: 1.2rem 0 1.8rem; }
.panels { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)); gap: 1.2rem 2rem; }
.panels h3 { margin: 0 0 0.3rem; font-size: 0.95rem; }
.plot { display: block; width: 100%; height: auto; font-family: system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; font-variant-numeric: tabular-nums; }
.legend { display: flex; flex-wrap: wrap; gap: 0.2rem 1.2rem; list-style: none; padding: 0; margin: 0 0 0.8rem; max-width: none; font-size: 0.9rem; }
.legend i, .key { display: inline-block; width: 1.3em; height: 0.28em; border-radius: 2px; margin-right: 0.5em; vertical-align: 0.25em; }
.missing { padding: 0.9rem 1.1rem; border: 1px dashed var(--muted); border-radius: 6px; color: var(--muted); margin: 0.4rem 0; }
.sample { margin: 0 0 1.4rem; }
.sample figcaption { font-weight: 600; color: var(--ink); margin-bottom: 0.2rem; }
blockquote { margin: 0; padding: 0.2rem 0 0.2rem 1rem; border-left: 3px solid var(--rule); white-space: pre-wrap; overflow-wrap: anywhere; max-width: 46rem; }
summary { cursor: pointer; font-weight: 600; padding: 0.3rem 0; }
footer { margin-top: 3.5rem; padding-top: 1rem; border-top: 1px solid var(--rule); color: var(--muted); font-size: 0.86rem; }
@media print {
  @page { margin: 16mm 14mm; }
  html { font-size: 9.5pt; }
  .page { max-width: none; padding: 0; }
  nav { display: none; }
  h2 { margin-top: 1.6rem; }
  h2, h3, caption, .legend { break-after: avoid; }
  tr, .plot, .cautions, blockquote { break-inside: avoid; }
  .scroll, pre { overflow: visible; }
  pre { white-space: pre-wrap; overflow-wrap: anywhere; border: 1px solid var(--rule); background: none; font-size: 7.5pt; }
  table { font-size: 6.3pt; min-width: 0; width: 100%; }
  th, td { padding-right: 0.45em; overflow-wrap: break-word; }
  thead th { min-width: 0; font-size: 6.1pt; }
  tbody th { position: static; min-width: 8em; overflow-wrap: anywhere; }
  .text, .error { min-width: 5.5em; overflow-wrap: break-word; }
  .plot { max-width: 100mm !important; }
  .number, .range, .time, .edge, .tag { white-space: normal; }
  .panels { grid-template-columns: 1fr 1fr; }
  details::details-content { content-visibility: visible; block-size: auto; }
}
)css";

}  // namespace entrain::lab
