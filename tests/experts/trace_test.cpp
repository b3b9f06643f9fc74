#include "entrain/experts/trace.h"

#include "scripted.h"

namespace entrain::experts {
namespace {

using Json = nlohmann::ordered_json;

/// Errors, a cut, a failure and a choice with scores, to a FINISH.
Trace eventful() {
  Writers writers = writers_of(in_turn({"\nThought: go\nAct: LOOKUP a\nObs: 9\n", "Act: JUMP\n"}), throwing(), &solver);
  const Chooser chooser = [](const std::string&, int64_t step) {
    Choice choice = step < 2 ? 0 : step == 2 ? 1 : 2;
    choice.scores = {0.5, 0.25, 0.125};
    choice.flops = 0.1;
    return choice;
  };
  return run(writers, two_hops(), {.seed = 3}, chooser);
}

Trace forced() {
  Writers writers = writers_of(saying("Act: LOOKUP c\n"), saying(""));
  scripted(writers, 0).answer_probability = -1;
  return run(writers, two_hops());
}

/// What is wrong with a trace after a change, from reading or replaying it; "" where it holds.
std::string fault(const Trace& trace, const std::function<void(Json&)>& change) {
  Json object = Json::parse(trace.to_json());
  change(object);
  try {
    replay(Trace::from_json(object.dump()));
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kData);
    return error.what();
  }
  return "";
}

TEST(Trace, RoundTrips) {
  for (const Trace& trace : {eventful(), forced()}) {
    EXPECT_EQ(Trace::from_json(trace.to_json()), trace);
    EXPECT_EQ(fault(trace, [](Json&) {}), "");
  }
  EXPECT_EQ(eventful().steps.size(), 6u);
  EXPECT_TRUE(eventful().correct);
  EXPECT_EQ(forced().unanswered.size(), 1u);
}

TEST(Trace, NothingThatCanBeCheckedCanBeChanged) {
  using Change = std::function<void(Json&)>;
  const std::vector<std::pair<std::string, Change>> changes = {
      {"format", [](Json& t) { t["format"] = "other"; }},
      {"version", [](Json& t) { t["version"] = 2; }},
      {"version", [](Json& t) { t["version"] = "1"; }},
      {"item", [](Json& t) { t["item"]["family"] = "chains"; }},
      {"answer", [](Json& t) { t["item"]["answer"] = "8"; }},
      {"hash", [](Json& t) { t["item"]["canonical"] = "other|7"; }},
      {"step 0: observation", [](Json& t) { t["item"]["world"]["store"]["a"] = "c"; t["item"]["symbolic"] = "b → ?"; }},
      {"world", [](Json& t) { t["item"]["world"].erase("store"); }},
      {"beyond the cap", [](Json& t) { t["max_steps"] = 3; }},
      {"beyond the cap", [](Json& t) { t["item"]["world"]["step_budget"] = 2; }},
      {"max_steps", [](Json& t) { t["max_steps"] = 1000000000; }},
      {"max_visits", [](Json& t) { t["max_visits"] = 0; }},
      {"seed", [](Json& t) { t["seed"] = -1; }},
      {"english", [](Json& t) { t["english"] = 0; }},
      {"constrained", [](Json& t) { t["constrained"] = nullptr; }},
      {"experts", [](Json& t) { t["experts"][1] = t["experts"][0]; }},
      {"step 0: \"expert\" names an expert", [](Json& t) { t["steps"][0]["expert"] = "nobody"; }},
      {"step 3: expert", [](Json& t) { t["steps"][3]["expert"] = "expert 1"; }},
      {"step 0: \"scores\"", [](Json& t) { t["steps"][0]["scores"] = {0.5}; }},
      {"step 0: \"scores\"", [](Json& t) { t["steps"][0]["scores"][0] = 2; }},
      {"step 0: thought", [](Json& t) { t["steps"][0]["wrote"] = "\nAct: LOOKUP a\nObs: 9\n"; }},
      {"step 0: action", [](Json& t) { t["steps"][0]["wrote"] = "\nThought: go\nAct: LOOKUP b\nObs: 9\n"; }},
      {"step 0: thought", [](Json& t) { t["steps"][0]["thought"] = "Thought: stay"; }},
      {"step 0: action", [](Json& t) { t["steps"][0]["action"] = "LOOKUP b"; }},
      {"step 0: \"action\" is none", [](Json& t) { t["steps"][0]["action"] = "DELETE a"; }},
      {"step 0: \"action\"", [](Json& t) { t["steps"][0]["action"] = "LOOKUP  a"; }},
      {"step 1: action", [](Json& t) { t["steps"][1]["action"] = "LOOKUP a"; }},
      {"step 0: cut", [](Json& t) { t["steps"][0]["cut"] = ""; }},
      {"step 0: observation", [](Json& t) { t["steps"][0]["observation"] = "7"; }},
      {"step 4: observation", [](Json& t) { t["steps"][4]["observation"] = "8"; }},
      {"step 0: error", [](Json& t) { t["steps"][0]["error"] = true; }},
      {"step 0: \"probability\"", [](Json& t) { t["steps"][0]["probability"] = 1.5; }},
      {"step 0: \"probability\"", [](Json& t) { t["steps"][0]["probability"] = nullptr; }},
      {"step 0: \"tokens\"", [](Json& t) { t["steps"][0]["tokens"] = -1; }},
      {"\"tokens\" is not the sum", [](Json& t) { t["steps"][0]["tokens"] = 1; }},
      {"\"flops\" is not the sum", [](Json& t) { t["steps"][0]["flops"] = 1; }},
      {"step 0: \"flops\"", [](Json& t) { t["steps"][0]["flops"] = -1; }},
      {"step 0: wrote", [](Json& t) { t["steps"][0]["failure"] = "tired"; }},
      {"step 2", [](Json& t) { t["steps"][2]["failure"] = ""; }},
      {"step 0: \"step\"", [](Json& t) { t["steps"][0]["step"] = 1; }},
      {"step 0: \"wrote\" is missing", [](Json& t) { t["steps"][0].erase("wrote"); }},
      {"step 1: \"wrote\" is not a text", [](Json& t) { t["steps"][1]["wrote"] = 5; }},
      {"end", [](Json& t) { t["end"] = "boredom"; }},
      {"forced", [](Json& t) { t["end"] = "cycle"; }},
      {"end", [](Json& t) { t["end"] = "cycle"; t["forced"] = true; t["tokens"] = t["tokens"].get<int64_t>() + 1; }},
      {"unanswered", [](Json& t) { t["unanswered"] = {{{"expert", "expert 0"}, {"failure", "x"}}}; }},
      {"answered_by", [](Json& t) { t["answered_by"] = "expert 1"; }},
      {"answer", [](Json& t) { t["answered_by"] = nullptr; }},
      {"answer", [](Json& t) { t["answer"] = "8"; }},
      {"answer", [](Json& t) { t["answer"] = "blue"; }},
      {"answer", [](Json& t) { t["answer_probabilities"] = std::vector<double>(13, 0.1); }},
      {"answer_flops", [](Json& t) { t["answer_flops"] = "much"; }},
      {"correct", [](Json& t) { t["correct"] = false; }},
      {"forced", [](Json& t) { t["forced"] = true; }},
      {"flops", [](Json& t) { t["flops"] = 1e9; }},
      {"tokens", [](Json& t) { t["tokens"] = 0; }},
  };
  const Trace trace = eventful();
  for (size_t c = 0; c < changes.size(); ++c) {
    const std::string found = fault(trace, changes[c].second);
    EXPECT_NE(found.find(changes[c].first), std::string::npos) << "change " << c << ": wanted " << changes[c].first << ", got \"" << found << "\"";
  }
  // Every field is needed, at the top and in a step.
  const Json object = Json::parse(trace.to_json());
  for (const auto& [name, value] : object.items()) EXPECT_NE(fault(trace, [&](Json& t) { t.erase(name); }).find("\"" + name + "\" is missing"), std::string::npos) << name;
  for (const auto& [name, value] : object["steps"][1].items()) EXPECT_NE(fault(trace, [&](Json& t) { t["steps"][1].erase(name); }).find("step 1: \"" + name + "\" is missing"), std::string::npos) << name;
}

TEST(Trace, StepsOutOfOrderAreRefused) {
  const Trace trace = eventful();
  EXPECT_NE(fault(trace, [](Json& t) { std::swap(t["steps"][1], t["steps"][2]); }).find("step 1: \"step\" is 2: the steps are out of order"), std::string::npos);
  EXPECT_NE(fault(trace, [](Json& t) { t["steps"][1]["after"] = 2; t["steps"][2]["after"] = 1; }).find("step 1: \"after\" is not 0"), std::string::npos) << "a cycle";
  EXPECT_NE(fault(trace, [](Json& t) { t["steps"][1]["after"] = 1; }).find("step 1: \"after\""), std::string::npos) << "after itself";
  EXPECT_NE(fault(trace, [](Json& t) { t["steps"][0]["after"] = 5; }).find("step 0: \"after\""), std::string::npos);
  const auto renumber = [](Json& t) {
    int64_t tokens = 0;
    double flops = 0;
    for (size_t k = 0; k < t["steps"].size(); ++k) {
      t["steps"][k]["step"] = k;
      t["steps"][k]["after"] = k == 0 ? Json() : Json(k - 1);
      tokens += t["steps"][k]["tokens"].get<int64_t>();
      flops += t["steps"][k]["flops"].get<double>();
    }
    t["tokens"] = tokens;
    t["flops"] = flops;
  };
  EXPECT_NE(fault(trace, [](Json& t) { t["steps"].erase(0); }).find("step 0: \"step\" is 1"), std::string::npos);
  EXPECT_NE(fault(trace, [&](Json& t) { t["steps"].erase(5); renumber(t); }).find("step 5: is missing"), std::string::npos);
  EXPECT_NE(fault(trace, [&](Json& t) { t["steps"].push_back(t["steps"][5]); renumber(t); }).find("step 6: comes after the end"), std::string::npos);
}

TEST(Trace, AForcedAnswerIsTheOneOfHighestProbability) {
  const Trace trace = forced();
  EXPECT_NE(fault(trace, [](Json& t) { t["answer"] = "3"; t["correct"] = false; }), "");
  EXPECT_NE(fault(trace, [](Json& t) { t["answer_probabilities"][4] = 1; t["answer_probabilities"][10] = 0; }), "");
  EXPECT_NE(fault(trace, [](Json& t) { t["unanswered"].push_back(t["unanswered"][0]); }), "");
  EXPECT_NE(fault(trace, [](Json& t) { t["unanswered"][0]["expert"] = "expert 1"; }), "");
  EXPECT_NE(fault(trace, [](Json& t) { t["end"] = "step cap"; }).find("end"), std::string::npos);
}

TEST(Trace, GarbageIsRefused) {
  for (const char* text : {"", "{", "[]", "null", "{}", "{\"format\": 3}", "\xff"}) EXPECT_THROW(Trace::from_json(text), Error) << text;
}

}  // namespace
}  // namespace entrain::experts
