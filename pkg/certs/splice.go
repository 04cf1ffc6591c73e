package certs

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"strings"
)

// Splice holds the new parts for [Splice.PutInto]. Nil: the old part stays.
type Splice struct {
	Chain []*x509.Certificate // in the place of all certificates
	// Key takes the place of the text's first private key, or, with Chain, of each that
	// belonged to the first certificate.
	Key *Key
}

// PutInto returns a PEM text with its certificates or its key replaced and every other byte as
// it was: other blocks (DH parameters, CRLs, further keys), comments, line ends. A key that is
// already the same is not changed. If the text has no such part, the new one is appended.
//
// It is an error if the result, parsed again, does not hold the new parts.
func (s Splice) PutInto(text []byte) ([]byte, error) {
	blocks, rest := pemBlocks(text)
	oldChain, _ := ParsePEM(text)
	var out bytes.Buffer
	keyDone := s.Key == nil
	chainDone := s.Chain == nil
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
			n++
			chainDone = true
		case s.Key != nil && s.replacesKey(b, oldChain, keyDone):
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
	return out.Bytes(), s.checkResult(out.Bytes())
}

// replacesKey reports whether a block is a private key that the new one replaces.
func (s Splice) replacesKey(b pemBlock, oldChain []*x509.Certificate, done bool) bool {
	if b.Type != PKCS8 && !strings.HasSuffix(b.Type, " "+PKCS8) {
		return false
	}
	if s.Chain == nil {
		return !done
	}
	signer, err := parseKeyDER(b.Bytes)
	return err == nil && len(oldChain) > 0 && (samePublicKey(signer.Public(), oldChain[0].PublicKey) || samePublicKey(signer.Public(), s.Key.Signer.Public()))
}

// keyText is the new key, or the unchanged block if that holds the same key.
func (s Splice) keyText(b pemBlock) ([]byte, error) {
	if signer, err := parseKeyDER(b.Bytes); err == nil && s.Key.Signer != nil && samePublicKey(signer.Public(), s.Key.Signer.Public()) {
		return b.text, nil
	}
	return s.Key.PEM()
}

func (s Splice) checkResult(text []byte) error {
	if s.Chain != nil {
		chain, err := ParsePEM(text)
		if err != nil || len(chain) != len(s.Chain) || !chain[0].Equal(s.Chain[0]) {
			return errors.New("the certificates cannot be replaced in this PEM text without a change elsewhere")
		}
	}
	if s.Key != nil && s.Chain == nil {
		key, err := ParseKeyPEM(text)
		if err != nil || !samePublicKey(key.Signer.Public(), s.Key.Signer.Public()) {
			return errors.New("the key cannot be replaced in this PEM text without a change elsewhere")
		}
	}
	return nil
}

// pemBlock is a block of a PEM text with how it stands there.
type pemBlock struct {
	pem.Block
	before []byte // the text between the previous block and it
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
