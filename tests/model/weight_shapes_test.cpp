#include "entrain/model/weight_shapes.h"

#include "tiny_model.h"

namespace entrain::model {
namespace {

Shapes shapes_of(const Transformer& model) {
  Shapes shapes;
  for (const Weight& weight : model.parameters().weights()) shapes[weight.name] = weight.value.sizes().vec();
  for (const RowTable& table : model.parameters().tables()) shapes[table.name] = table.value.sizes().vec();
  return shapes;
}

// What is told from the configuration is what a model then has, for each family and part.
TEST(WeightShapes, AreThoseOfTheModel) {
  for (const std::string& shape : kShapes) {
    for (const std::string into : {"", "residual", "values"}) {
      Config config = tiny_config(shape);
      if (!into.empty()) {
        config.memory = {.rows = 7, .orders = {1, 3}, .heads = 2, .blocks = {0, 1}, .into = into, .width = 10, .gate = true};
        config.mixing = {.blocks = {1}, .width = 4, .features = 8};
        config.resolve();
      }
      Shapes told = outer_shapes(config);
      told.merge(memory_shapes(config));
      for (int64_t layer = 0; layer < config.layers; ++layer) told.merge(block_shapes(config, layer));
      EXPECT_EQ(told, shapes_of(Transformer(config, 1))) << shape << " " << into;
      EXPECT_LE(weight_count(config), static_cast<double>(Transformer(config, 1).parameters().count())) << shape;
    }
  }
}

}  // namespace
}  // namespace entrain::model
