#include "entrain/experts/iterate.h"

#include "entrain/base/random.h"
#include "entrain/reasoning/tools.h"
#include "scripted.h"

namespace entrain::experts {
namespace {

TEST(Iterate, SolvesInTheLinesModelsLearnFrom) {
  Writers writers = writers_of(&solver);
  const Question question = two_hops();
  const Trace trace = run(writers, question);
  EXPECT_EQ(trace.end, End::kFinish);
  EXPECT_TRUE(trace.correct);
  EXPECT_FALSE(trace.forced());
  EXPECT_EQ(trace.answered_by, 0);
  ASSERT_EQ(trace.steps.size(), 3u);
  EXPECT_EQ(trace.steps[0].action, "LOOKUP a");
  EXPECT_EQ(trace.steps[0].observation, "b");
  EXPECT_EQ(trace.steps[1].observation, "7");
  EXPECT_EQ(trace.steps[2].action, "FINISH 7");
  EXPECT_EQ(trace.steps[2].observation, "");
  EXPECT_EQ(scripted(writers).n_answers, 0);
  // What the expert was given last is a right transcript's beginning but for its first thought.
  std::string right = reasoning::tool_transcript(question.item, question.prompt());
  const size_t thought = right.find("follow a");
  right.replace(thought, 8, "try");
  EXPECT_TRUE(right.starts_with(scripted(writers).seen.back())) << scripted(writers).seen.back() << "\nagainst\n" << right;
  EXPECT_EQ(trace.flops(), 30);
}

TEST(Iterate, InventedObservationsAreCut) {
  Writers writers = writers_of(in_turn({"\nThought: I know\nAct: LOOKUP a\nObs: 9\nThought: done\nAct: FINISH 9", "\nThought: b\nAct: LOOKUP b Obs: 4\nAct: LOOKUP a", "\nThought: hm Obs: 3\nAct: FINISH 3", "\nObs: 5\nAct: FINISH 5", "\nAct: FINISH 7"}));
  const Trace trace = run(writers, two_hops());
  ASSERT_EQ(trace.steps.size(), 5u);
  EXPECT_EQ(trace.steps[0].cut, "Obs: 9\nThought: done\nAct: FINISH 9");
  EXPECT_EQ(trace.steps[0].observation, "b");
  EXPECT_EQ(trace.steps[1].thought, "Thought: b");
  EXPECT_EQ(trace.steps[1].observation, "7");
  EXPECT_EQ(trace.steps[1].cut, "Obs: 4\nAct: LOOKUP a");
  for (size_t k : {2u, 3u}) {
    EXPECT_EQ(trace.steps[k].action, "") << "an observation of its own ends what an expert may say";
    EXPECT_TRUE(trace.steps[k].is_error);
  }
  EXPECT_EQ(trace.steps[2].thought, "Thought: hm");
  EXPECT_EQ(trace.steps[4].cut, "");
  EXPECT_TRUE(trace.correct);
  for (const std::string& transcript : scripted(writers).seen) {
    for (const char* invented : {"Obs: 9", "Obs: 3", "Obs: 4", "Obs: 5", "FINISH"}) EXPECT_EQ(transcript.find(invented), std::string::npos) << transcript;
  }
}

TEST(Iterate, GarbageIsAnsweredByErrorsAndEndsAfterThreeInARow) {
  Writers writers = writers_of(in_turn({"Act: DANCE a\n", "hm", "\nAct: LOOKUP a\n", "Act: LOOKUP a b\n", "", "\nThought: what", "\nAct: FINISH 7"}));
  const Trace trace = run(writers, two_hops());
  EXPECT_EQ(trace.end, End::kUnparsable);
  ASSERT_EQ(trace.steps.size(), 6u) << "a good action begins the count anew";
  EXPECT_EQ(trace.n_unparsable(), 5);
  EXPECT_EQ(trace.n_tool_errors(), 0);
  EXPECT_TRUE(trace.forced());
  EXPECT_TRUE(trace.correct);
  EXPECT_EQ(trace.answer, "7");
  const std::string& second = scripted(writers).seen[1];
  EXPECT_NE(second.find("\nAct: DANCE a\nObs: error: "), std::string::npos) << second;
  EXPECT_NE(second.find("DANCE", second.find("Obs:")), std::string::npos) << "the error names what is wrong: " << second;
}

TEST(Iterate, FinishAtOnceIsOneStepWhateverTheAnswer) {
  Writers writers = writers_of(saying("Act: FINISH ⊥"));
  const Trace trace = run(writers, two_hops(), {.max_steps = 1});
  EXPECT_EQ(trace.end, End::kFinish);
  EXPECT_EQ(trace.steps.size(), 1u);
  EXPECT_EQ(trace.answer, "⊥");
  EXPECT_FALSE(trace.correct);
  Writers unknown = writers_of(saying("Act: FINISH wug"));
  EXPECT_EQ(run(unknown, two_hops()).end, End::kUnparsable) << "no answer of the alphabet";
}

TEST(Iterate, OneStepMeansOneStep) {
  Writers writers = writers_of(&solver);
  const Trace trace = run(writers, two_hops(), {.max_steps = 1});
  EXPECT_EQ(trace.end, End::kStepCap);
  EXPECT_EQ(trace.steps.size(), 1u);
  EXPECT_EQ(scripted(writers).n_answers, 1);
  EXPECT_TRUE(trace.forced());
  EXPECT_EQ(trace.n_tokens(), trace.steps[0].n_tokens + 1);
  EXPECT_EQ(trace.flops(), 13);
}

TEST(Iterate, NeverFinishingEndsAtTheLowerOfBothCaps) {
  for (const auto& [budget, cap] : std::vector<std::pair<int64_t, int64_t>>{{4, 16}, {30, 5}}) {
    int64_t n = 0;
    Writers writers = writers_of([&n](const std::string&) { return "Act: CALC " + std::to_string(n++ % 10) + " + 1\n"; });
    const Trace trace = run(writers, two_hops(0, budget), {.max_steps = cap});
    EXPECT_EQ(trace.end, End::kStepCap);
    EXPECT_EQ(std::ssize(trace.steps), std::min(budget, cap));
  }
}

TEST(Iterate, CyclesEnd) {
  Writers stuck = writers_of(saying("Act: LOOKUP c\n"));
  Trace trace = run(stuck, two_hops());
  EXPECT_EQ(trace.end, End::kCycle);
  EXPECT_EQ(trace.steps.size(), 2u);
  EXPECT_TRUE(trace.forced());

  Writers pendulum = writers_of(in_turn({"Act: LOOKUP a\n", "Act: LOOKUP b\n", "Act: LOOKUP a\n", "Act: LOOKUP b\n", "Act: LOOKUP a\n", "Act: FINISH 7"}));
  trace = run(pendulum, two_hops());
  EXPECT_EQ(trace.end, End::kCycle);
  EXPECT_EQ(trace.steps.size(), 5u) << "at the third visit";
  Writers again = writers_of(in_turn({"Act: LOOKUP a\n", "Act: LOOKUP b\n", "Act: LOOKUP a\n", "Act: LOOKUP b\n", "Act: LOOKUP a\n", "Act: FINISH 7"}));
  EXPECT_EQ(run(again, two_hops(), {.max_visits = 4}).end, End::kFinish);
  // Words between them do not hide a repetition.
  Writers wordy = writers_of(in_turn({"Thought: x\nAct: LOOKUP c\n", "Thought: y\nAct: LOOKUP c\n"}));
  EXPECT_EQ(run(wordy, two_hops()).end, End::kCycle);
}

TEST(Iterate, ToolErrorsMayBeTriedAgainButNotForEver) {
  // Seeds whose world fails at first: the solver tries again and still finds the answer.
  int64_t n_mended = 0;
  for (uint64_t seed = 0; seed < 40; ++seed) {
    Writers writers = writers_of(&solver);
    const Trace trace = run(writers, two_hops(0.4, 50), {.max_visits = 20, .seed = seed});
    EXPECT_EQ(trace.end, End::kFinish) << seed;
    EXPECT_TRUE(trace.correct) << seed;
    EXPECT_EQ(std::ssize(trace.steps), 3 + trace.n_tool_errors());
    n_mended += trace.n_tool_errors() > 1 ? 1 : 0;
  }
  EXPECT_GT(n_mended, 5);
  Writers stubborn = writers_of(saying("Act: LOOKUP zz\n"));
  const Trace trace = run(stubborn, two_hops());
  EXPECT_EQ(trace.end, End::kCycle);
  EXPECT_EQ(trace.steps.size(), 3u) << "an error twice in a row is no cycle yet";
  EXPECT_EQ(trace.n_tool_errors(), 3);
}

TEST(Iterate, AnExpertThatFailsIsLeftOut) {
  for (const bool throws : {true, false}) {
    Writers writers = throws ? writers_of(throwing(), &solver) : writers_of(&solver, &solver);
    if (!throws) scripted(writers, 0).probability = std::numeric_limits<double>::quiet_NaN();
    const Trace trace = run(writers, two_hops());
    EXPECT_TRUE(trace.correct);
    ASSERT_EQ(trace.steps.size(), 4u);
    EXPECT_EQ(trace.steps[0].expert, 0);
    EXPECT_NE(trace.steps[0].failure, "");
    EXPECT_EQ(trace.steps[0].action, "");
    EXPECT_EQ(trace.steps[0].failure == "the disk is gone", throws);
    for (size_t k = 1; k < 4; ++k) EXPECT_EQ(trace.steps[k].expert, 1);
    EXPECT_EQ(trace.n_unparsable(), 0) << "a failure is no action that could not be read";
  }
}

TEST(Iterate, WhereAllFailTheAnswerIsEmpty) {
  Writers writers = writers_of(throwing(), throwing(), throwing());
  const Trace trace = run(writers, two_hops(), {}, at_random(3, 5));
  EXPECT_EQ(trace.end, End::kNoExpert);
  EXPECT_EQ(trace.steps.size(), 3u);
  EXPECT_EQ(trace.answer, "");
  EXPECT_EQ(trace.answered_by, -1);
  EXPECT_FALSE(trace.correct);
  EXPECT_FALSE(trace.forced());
  Writers nobody;
  EXPECT_EQ(run(nobody, two_hops()).end, End::kNoExpert);
}

TEST(Iterate, TheForcedAnswerPassesToTheNextWhereOneFails) {
  Writers writers = writers_of(saying("Act: LOOKUP c\n"), saying(""));
  scripted(writers, 0).answer_probability = std::numeric_limits<double>::infinity();
  const Trace trace = run(writers, two_hops());
  ASSERT_EQ(trace.unanswered.size(), 1u);
  EXPECT_EQ(trace.unanswered[0].expert, 0);
  EXPECT_EQ(trace.answered_by, 1);
  EXPECT_EQ(trace.answer_flops, 6);
  scripted(writers, 1).answer_probability = -1;
  const Trace none = run(writers, two_hops());
  EXPECT_EQ(none.unanswered.size(), 2u);
  EXPECT_EQ(none.answer, "");
  EXPECT_EQ(none.end, End::kCycle) << "the reason stays";
}

TEST(Iterate, OneItemsFaultIsNotAnothers) {
  // One expert throws for one question of the batch alone.
  Writers writers = writers_of([](const std::string& transcript) { return transcript.starts_with("c") ? throw std::runtime_error("not this one") : solver(transcript); });
  std::vector<Question> questions(3, two_hops());
  questions[1].item.symbolic = "c → ?";
  const std::vector<Trace> traces = iterate(writers, questions, always(0));
  EXPECT_TRUE(traces[0].correct);
  EXPECT_TRUE(traces[2].correct);
  EXPECT_EQ(traces[1].end, End::kNoExpert);
  EXPECT_EQ(traces[1].steps[0].failure, "not this one");
}

TEST(Iterate, TheChooserDecidesStepByStep) {
  Writers writers = writers_of(&solver, &solver, throwing());
  const Chooser alternating = [](const std::string& transcript, int64_t step) {
    EXPECT_TRUE(transcript.starts_with("a → → ?"));
    Choice choice = step % 2;
    choice.scores = {0.25, 0.5, 0.125};
    choice.flops = 1;
    return choice;
  };
  const Trace trace = run(writers, two_hops(), {}, alternating);
  EXPECT_EQ(trace.steps[0].expert, 0);
  EXPECT_EQ(trace.steps[1].expert, 1);
  EXPECT_EQ(trace.steps[2].expert, 0);
  EXPECT_EQ(trace.steps[0].scores, (std::vector<double>{0.25, 0.5, 0.125}));
  EXPECT_EQ(trace.flops(), 33);
  // In a failed expert's place goes the one of the highest score.
  const Chooser scored = [](const std::string&, int64_t) {
    Choice choice = 2;
    choice.scores = {0.1, 0.9, 1.0};
    return choice;
  };
  Writers others = writers_of(&solver, &solver, throwing());
  EXPECT_EQ(run(others, two_hops(), {}, scored).steps.at(1).expert, 1);
  EXPECT_THROW(run(others, two_hops(), {}, always(3)), std::logic_error);

  const Chooser random = at_random(3, 1);
  std::vector<int64_t> counts(3);
  for (int64_t step = 0; step < 600; ++step) ++counts[static_cast<size_t>(random("x", step).expert)];
  for (const int64_t count : counts) EXPECT_GT(count, 150);
  EXPECT_EQ(random("x", 7).expert, at_random(3, 1)("x", 7).expert);
}

TEST(Iterate, RefusesWhatItCannotAsk) {
  Writers writers = writers_of(&solver);
  Question chains = two_hops();
  chains.item.family = "chains";
  EXPECT_THROW(run(writers, chains), Error);
  Question worldless = two_hops();
  worldless.item.world = {};
  EXPECT_THROW(run(writers, worldless), Error);
  EXPECT_THROW(run(writers, two_hops(), {.max_steps = 0}), Error);
  EXPECT_THROW(run(writers, two_hops(), {.max_visits = 1}), Error);
}

// Whatever bytes an expert writes, the loop ends within its caps, and what it keeps can be written, read and run again.
TEST(Iterate, RandomBytesNeverBreakIt) {
  const std::vector<std::string> pieces = {"Act:", "Act: LOOKUP ", "Obs:", "Obs: b", "Obs : 7", "\nAct: FINISH 7", "\nAct: LOOKUP a\n", "Thought:", "\n", "\n", " ", "a", "b", "FINISH 7", "FINISH ", "CALC 1 + ", "7", "●", "\xff", std::string(1, '\0'), "\xe2\x97", "\r", "CHECK 1 < 2", "="};
  std::vector<int64_t> ends(kEndNames.size());
  for (uint64_t seed = 0; seed < 400; ++seed) {
    RandomStream random = stream(seed, "bytes");
    Writers writers = writers_of([&random, &pieces](const std::string&) {
      std::string text;
      for (uint64_t n = random.next_below(14); n > 0; --n) {
        if (random.next_below(6) == 0) text += static_cast<char>(random.next_below(256));
        else text += pieces[random.next_below(pieces.size())];
      }
      return text;
    });
    const Trace trace = run(writers, two_hops(0.2, 6), {.seed = seed});
    ++ends[static_cast<size_t>(trace.end)];
    ASSERT_LE(trace.steps.size(), 6u);
    ASSERT_GE(reasoning::answer_index(trace.answer), 0);
    // In every transcript an observation follows an action or an error, and none is the model's.
    for (size_t k = 0; k < scripted(writers).seen.size(); ++k) {
      const std::string& transcript = scripted(writers).seen[k];
      size_t n_observations = 0;
      for (size_t at = transcript.find("Obs:"); at != std::string::npos; at = transcript.find("Obs:", at + 1)) ++n_observations;
      ASSERT_LE(n_observations, 2 * k) << transcript;  // an error may quote a word of the model
    }
    const Trace again = Trace::from_json(trace.to_json());
    ASSERT_EQ(again, trace);
    ASSERT_NO_THROW(replay(again)) << seed;
  }
  EXPECT_GT(ends[static_cast<size_t>(End::kFinish)], 20);
  EXPECT_GT(ends[static_cast<size_t>(End::kUnparsable)], 20);
}

TEST(Iterate, TheReportCountsWhatTheTracesHold) {
  Writers writers = writers_of(&solver, in_turn({"Act: LOOKUP zz\n", "hm", "Act: FINISH 3"}));
  const Question question = two_hops();
  std::vector<Trace> traces{run(writers, question), run(writers, question, {}, always(1))};
  const IterationReport report = summarise(traces, 15);
  EXPECT_EQ(report.n, 2);
  EXPECT_DOUBLE_EQ(report.solved, 0.5);
  EXPECT_DOUBLE_EQ(report.steps, 3);
  EXPECT_DOUBLE_EQ(report.tool_errors, 0.5);
  EXPECT_DOUBLE_EQ(report.unparsable, 0.5);
  EXPECT_DOUBLE_EQ(report.forced, 0);
  EXPECT_DOUBLE_EQ(report.flops, 30);
  EXPECT_DOUBLE_EQ(report.relative_cost, 2);
  EXPECT_EQ(report.shares, (std::vector<double>{0.5, 0.5}));
  EXPECT_DOUBLE_EQ(report.ends.at("finish"), 1);
  EXPECT_DOUBLE_EQ(report.solved_by_depth.at(2), 0.5);
  EXPECT_EQ(summarise({}, 1).n, 0);
}

}  // namespace
}  // namespace entrain::experts
