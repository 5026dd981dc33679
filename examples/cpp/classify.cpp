// Classifies pictures with a compiled model, in C++.
//
//     ./classify ../c_api/seven.pgm
#include <algorithm>
#include <cstdio>
#include <exception>
#include <fstream>
#include <stdexcept>
#include <string>

#include "digits.h"
#include "es_model.hpp"

// An 8x8 picture as text PGM ("P2") into the model's input; grey values become 0 to 1.
static void read_picture(const char *path, es::span<float> pixels) {
    std::ifstream file(path);
    std::string magic;
    std::size_t width = 0, height = 0;
    float top = 0;
    file >> magic >> width >> height >> top;
    if (!file || magic != "P2" || width * height != pixels.size() || top <= 0) {
        throw std::runtime_error(std::string(path) + ": not a text PGM of " + std::to_string(pixels.size()) + " pixels");
    }
    for (float &pixel : pixels) {
        file >> pixel;
        pixel /= top;
    }
    if (!file) throw std::runtime_error(std::string(path) + ": the picture is cut off");
}

int main(int argc, char **argv) try {
    if (argc < 2) {
        std::fprintf(stderr, "usage: %s PICTURE.pgm...\n", argv[0]);
        return 2;
    }
    es::model model(ES_MODEL_FUNCTIONS(digits), 2);
    const es::span<float> image = model.input<float>("image");
    const es::span<const float> scores = model.output<float>("logits");
    for (int i = 1; i < argc; i++) {
        read_picture(argv[i], image);
        model.run();
        for (std::size_t k = 0; k < scores.size(); k++) std::printf("%zu: %8.4f\n", k, static_cast<double>(scores[k]));
        std::printf("digit: %td\n", std::max_element(scores.begin(), scores.end()) - scores.begin());
    }
    return 0;
} catch (const std::exception &error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
}
