"""What the executor does about calls and answers that are not right; each is counted under its name."""

from enum import StrEnum


class Intervention(StrEnum):
    """Besides these, the kinds of `repair.Repair` are counted, and `names.Found` as "name_letters" and so on."""

    TOOL_NAME = "tool_name"
    AREA_AS_NAME = "area_as_name"
    BROKEN_ARGUMENTS = "broken_arguments"
    UNKNOWN_TOOL = "unknown_tool"
    UNKNOWN_NAME = "unknown_name"
    AMBIGUOUS_NAME = "ambiguous_name"
    REPEATED_CALL = "repeated_call"
    QUESTION_ONLY = "question_only"
    CONSENT_NEEDED = "consent_needed"
    ANSWER_FROM_RESULT = "answer_from_result"
    ANSWER_CORRECTED = "answer_corrected"
    STOPPED = "stopped"
    WRONG_STRUCTURE = "wrong_structure"
    HISTORY_TRIMMED = "history_trimmed"
