#pragma once
// One maker a family, for the registry in family.cpp alone.

#include <memory>

#include "entrain/reasoning/family.h"

namespace entrain::reasoning {

std::unique_ptr<Family> make_chains();
std::unique_ptr<Family> make_boolean();
std::unique_ptr<Family> make_order();
std::unique_ptr<Family> make_quantifiers();
std::unique_ptr<Family> make_sets();
std::unique_ptr<Family> make_arithmetic();
std::unique_ptr<Family> make_consistency();
std::unique_ptr<Family> make_listops();
std::unique_ptr<Family> make_tools();
std::unique_ptr<Family> make_relay();
std::unique_ptr<Family> make_keyvalue();

}  // namespace entrain::reasoning
