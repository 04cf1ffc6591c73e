package certs

import "strings"

// CommonName is the CN of a distinguished name in RFC 2253 form, or all of it where it
// has none.
func CommonName(dn string) string {
	start := 0
	if !strings.HasPrefix(dn, "CN=") {
		for i := 1; i < len(dn); i++ {
			if strings.HasPrefix(dn[i:], "CN=") && (dn[i-1] == ',' || dn[i-1] == '+') {
				start = i
				break
			}
		}
		if start == 0 {
			return dn
		}
	}
	var cn strings.Builder
	for i := start + len("CN="); i < len(dn); i++ {
		switch dn[i] {
		case ',', '+':
			return cn.String()
		case '\\':
			if i++; i < len(dn) {
				cn.WriteByte(dn[i])
			}
		default:
			cn.WriteByte(dn[i])
		}
	}
	return cn.String()
}
