// A program that takes its matrix products from a library.
#include HEADER

int main() { return BACKEND().describe().find("linear layers by") == std::string::npos ? 1 : 0; }
