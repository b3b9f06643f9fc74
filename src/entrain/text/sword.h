#pragma once
// The default corpus: about 25 MB of English prose in the public domain, from four Debian packages of the SWORD project.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "entrain/base/files.h"

namespace entrain::text {

struct SwordOptions {
  /// A folder with the four .deb files already downloaded; empty: `apt-get download` fetches them.
  fs::path from;
};

struct SwordSummary {
  uint64_t n_documents = 0, n_bytes = 0;
  bool was_complete = false;  ///< the folder held everything already and was left as it is
};

/// The packages' names: two Bibles (King James, World English) and two commentaries (Matthew Henry's Concise Commentary,
/// Spurgeon's Treasury of David).
const std::vector<std::string>& sword_packages();

/// Writes one .txt per book of the Bible into `out` ("01-genesis.txt"), holding what all modules say about that book one after
/// the other, and manifest.json. One document a book, because the Bibles share their verses and the commentaries
/// quote them: whatever a split by document holds out, none of its verses is in the other part. Additions to a book
/// (Greek Esther, Daniel, ...) stand with it.
///
/// All is written into a hidden sibling folder and renamed at the end. A complete folder (checked by its manifest) is left alone.
/// Throws Error{kIo} when apt-get or dpkg-deb is missing or fails, or `out` holds something else; Error{kData} when a package is
/// not as expected.
SwordSummary fetch_sword(const fs::path& out, const SwordOptions& options);

/// Plain text of a module's OSIS markup: notes and pilcrows dropped, block elements to line breaks, other tags dropped, entities resolved,
/// white space squeezed; one paragraph or line of verse a line.
std::string osis_to_text(std::string_view markup);

}  // namespace entrain::text
