"""The words on the forms, one table per language; every table has the same keys."""

from typing import Final

ENGLISH: Final = {
    "request_title": "Certificate request form",
    "certificate_title": "Certificate form",
    "holder": "Card holder",
    "name": "Name",
    "email": "E-mail",
    "card": "Card",
    "requested": "Certificate requested",
    "issued": "Certificate issued",
    "profile": "Certificate",
    "subject": "Subject",
    "key_type": "Key",
    "fingerprint": "Key fingerprint (SHA-256)",
    "policy": "Policy",
    "policy_version": "{name}, version {version}",
    "requested_at": "Requested",
    "serial_number": "Serial number",
    "issuer": "Issuer",
    "not_before": "Valid from",
    "not_after": "Valid until",
    "declaration": "Declaration",
    "request_statement": (
        "I request the certificate described above for my smart card. The details above are"
        " correct. I keep the card and its PIN to myself and report loss or suspected misuse at"
        " once."
    ),
    "certificate_statement": (
        "I have checked the certificate described above. Its details are correct, and I accept it"
        " for my smart card. I keep the card and its PIN to myself and report loss or suspected"
        " misuse at once."
    ),
    "place_and_date": "Place and date",
    "signature": "Signature of the card holder",
    "next": "What to do next",
    "step_sign": "Check the details above and sign in the box, by hand.",
    "step_scan": "Scan or photograph the whole page, with the code in the corner.",
    "step_upload": "Upload the file at {portal}",
    "step_card": (
        "Check the details above and sign electronically, with your card, at {portal}. A signature"
        " by hand is not taken."
    ),
    "step_or_card": "Or, without paper: sign electronically, with your card, at {portal}",
    "step_hand_in": "Hand in or send the signed form as described here: {contact}",
    "questions": "Questions: {contact}",
    "document": "Document",
    "version": "version",
    "update": "Card update",
    "page": "Page {page} of {pages}",
    "code": "Code that identifies this form: document {id}, version {version}",
    "code_note": "Keep this code clear",
    "instant": "{day} {month} {year}, {time} UTC",
    "months": (
        "January February March April May June July August September October November December"
    ),
}

GERMAN: Final = {
    "request_title": "Zertifikatsantrag",
    "certificate_title": "Zertifikatsformular",
    "holder": "Karteninhaber/in",
    "name": "Name",
    "email": "E-Mail",
    "card": "Karte",
    "requested": "Beantragtes Zertifikat",
    "issued": "Ausgestelltes Zertifikat",
    "profile": "Zertifikat",
    "subject": "Inhaber (Subject)",
    "key_type": "Schlüssel",
    "fingerprint": "Schlüssel-Fingerabdruck (SHA-256)",
    "policy": "Richtlinie",
    "policy_version": "{name}, Version {version}",
    "requested_at": "Beantragt am",
    "serial_number": "Seriennummer",
    "issuer": "Aussteller",
    "not_before": "Gültig ab",
    "not_after": "Gültig bis",
    "declaration": "Erklärung",
    "request_statement": (
        "Ich beantrage das oben beschriebene Zertifikat für meine Chipkarte. Die Angaben oben sind"
        " richtig. Karte und PIN gebe ich nicht weiter; Verlust oder Verdacht auf Missbrauch melde"
        " ich unverzüglich."
    ),
    "certificate_statement": (
        "Ich habe das oben beschriebene Zertifikat geprüft. Die Angaben sind richtig, und ich nehme"
        " es für meine Chipkarte an. Karte und PIN gebe ich nicht weiter; Verlust oder Verdacht auf"
        " Missbrauch melde ich unverzüglich."
    ),
    "place_and_date": "Ort und Datum",
    "signature": "Unterschrift",
    "next": "Wie es weitergeht",
    "step_sign": "Prüfen Sie die Angaben oben und unterschreiben Sie von Hand im Feld.",
    "step_scan": "Scannen oder fotografieren Sie die ganze Seite samt dem Code in der Ecke.",
    "step_upload": "Laden Sie die Datei hier hoch: {portal}",
    "step_card": (
        "Prüfen Sie die Angaben oben und unterschreiben Sie elektronisch mit Ihrer Karte: {portal}."
        " Eine Unterschrift von Hand wird nicht angenommen."
    ),
    "step_or_card": "Oder ohne Papier: unterschreiben Sie elektronisch mit Ihrer Karte: {portal}",
    "step_hand_in": "Geben Sie das unterschriebene Formular so ab: {contact}",
    "questions": "Fragen: {contact}",
    "document": "Dokument",
    "version": "Version",
    "update": "Kartenaktualisierung",
    "page": "Seite {page} von {pages}",
    "code": "Code dieses Formulars: Dokument {id}, Version {version}",
    "code_note": "Code bitte frei lassen",
    "instant": "{day}. {month} {year}, {time} UTC",
    "months": (
        "Januar Februar März April Mai Juni Juli August September Oktober November Dezember"
    ),
}

TEXTS: Final = {"en": ENGLISH, "de": GERMAN}
