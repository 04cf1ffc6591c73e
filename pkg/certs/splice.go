package certs

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"strings"
)

// Splice is what [Splice.Into] puts into a PEM text. Nil: that stays as it is.
type Splice struct {
	Chain []*x509.Certificate // in the place of all certificates
	// Key takes the place of the text's first private key, or, with Chain, of each that
	// belonged to the first certificate.
	Key *Key
}

// Into returns a PEM text with its certificates or its key replaced and every other byte
// as it was: other blocks (DH parameters, CRLs, further keys), comments, line ends. A key
// that is the same already is not touched. A text that had none of what is to be replaced
// gains it at its end.
//
// It is an error when the result, parsed again, does not hold what was put in.
func (s Splice) Into(text []byte) ([]byte, error) {
	blocks, rest := pemBlocks(text)
	oldChain, _ := ParsePEM(text)
	var out bytes.Buffer
	keyDone, chainDone := s.Key == nil, s.Chain == nil
	sameNumber := len(oldChain) == len(s.Chain)
	n := 0 // of the certificate
	for _, b := range blocks {
		out.Write(b.before)
		switch {
		case b.Type == certificateBlock && s.Chain != nil:
			switch {
			case sameNumber:
				writeBlock(&out, s.Chain[n].Raw, b)
			case n == 0:
				for _, c := range s.Chain {
					writeBlock(&out, c.Raw, pemBlock{})
				}
			}
			n, chainDone = n+1, true
		case s.Key != nil && s.replaces(b, oldChain, keyDone):
			text, err := s.keyText(b)
			if err != nil {
				return nil, err
			}
			out.Write(text)
			keyDone = true
		default:
			out.Write(b.text)
		}
	}
	out.Write(rest)
	if !chainDone {
		out.Write(EncodePEM(s.Chain...))
	}
	if !keyDone && s.Chain == nil {
		text, err := s.Key.PEM()
		if err != nil {
			return nil, err
		}
		out.Write(text)
	}
	return out.Bytes(), s.check(out.Bytes())
}

// replaces says whether a block is a private key that the new one takes the place of.
func (s Splice) replaces(b pemBlock, oldChain []*x509.Certificate, done bool) bool {
	if b.Type != PKCS8 && !strings.HasSuffix(b.Type, " "+PKCS8) {
		return false
	}
	if s.Chain == nil {
		return !done
	}
	signer, err := parseKeyDER(b.Bytes)
	return err == nil && len(oldChain) > 0 && (samePublicKey(signer.Public(), oldChain[0].PublicKey) || samePublicKey(signer.Public(), s.Key.Signer.Public()))
}

// keyText is the new key, or the block as it was where that holds the same key.
func (s Splice) keyText(b pemBlock) ([]byte, error) {
	if signer, err := parseKeyDER(b.Bytes); err == nil && s.Key.Signer != nil && samePublicKey(signer.Public(), s.Key.Signer.Public()) {
		return b.text, nil
	}
	return s.Key.PEM()
}

func (s Splice) check(text []byte) error {
	if s.Chain != nil {
		chain, err := ParsePEM(text)
		if err != nil || len(chain) != len(s.Chain) || !chain[0].Equal(s.Chain[0]) {
			return errors.New("the certificates cannot be replaced in this PEM text without touching anything else")
		}
	}
	if s.Key != nil && s.Chain == nil {
		key, err := ParseKeyPEM(text)
		if err != nil || !samePublicKey(key.Signer.Public(), s.Key.Signer.Public()) {
			return errors.New("the key cannot be replaced in this PEM text without touching anything else")
		}
	}
	return nil
}

// pemBlock is a block of a PEM text with how it stands there.
type pemBlock struct {
	pem.Block
	before []byte // what stands between the block before it and it
	text   []byte
}

// writeBlock writes a certificate; one that stays is written as it stood.
func writeBlock(out *bytes.Buffer, der []byte, was pemBlock) {
	if bytes.Equal(der, was.Bytes) {
		out.Write(was.text)
		return
	}
	out.Write(pem.EncodeToMemory(&pem.Block{Type: certificateBlock, Bytes: der}))
}

// pemBlocks takes a text apart; all parts together are the text.
func pemBlocks(text []byte) (out []pemBlock, rest []byte) {
	for {
		block, after := pem.Decode(text)
		if block == nil {
			return out, text
		}
		taken := text[:len(text)-len(after)]
		begin := max(bytes.LastIndex(taken, []byte("-----BEGIN "+block.Type)), 0)
		out = append(out, pemBlock{Block: *block, before: taken[:begin], text: taken[begin:]})
		text = after
	}
}
