// What nearly every file of the programs includes, precompiled: parsing it takes longer than what the file itself says.
// Each file still includes what it uses.
#pragma once

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <common/backbone.hpp>
