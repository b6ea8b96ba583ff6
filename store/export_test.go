package store

// What tests of the package from without look at.
var (
	DecodeDomain   = decodeDomain
	DecodeAutocert = decodeAutocert
	ServerAddress  = serverAddress
)
