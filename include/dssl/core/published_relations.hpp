// The published relations as a list for instances of templates, which only a macro can run over: who includes this has
// defined DSSL_UNDER(relation), which is undefined again here. Without it, nothing.

#if defined(DSSL_UNDER)
DSSL_UNDER(dssl::open_relation)
DSSL_UNDER(dssl::hidden_relation)
DSSL_UNDER(dssl::hidden_no_class_relation)
DSSL_UNDER(dssl::private_relation)
DSSL_UNDER(dssl::all_query_relation)
#undef DSSL_UNDER
#endif
