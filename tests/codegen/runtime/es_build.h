#define ES_BUILD "0123456789abcdef"
